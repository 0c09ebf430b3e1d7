"""Relax passes, one per file; `tvm_sod2.pipeline` lists them in order."""
