"""Forward transfer of entries (V-map), by family; `row.ValueTransfer` is their form.

A transfer sees entries as NumPy object arrays, so that whatever only moves entries is NumPy's own
function. None, for an entry or for all of them, means that they are not tracked.
"""
