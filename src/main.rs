//! The `pavs` command.

fn main() {}
