//! A captured cluster: reading a snapshot, and lowering it to a packing problem.
