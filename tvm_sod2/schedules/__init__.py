"""Kernels: legalised anchors, tile emitters, schedule rules, target traits."""
