//! Black-box tests: the real binary, real TLS, public URLs only.
//!
//! A test whose name begins with `dNN_` shows that a defect of the Python server that `pavs`
//! replaces is not there; `docs/` and the contract it was measured against list them by number.

mod access;
mod certs;
mod cli;
mod clients;
mod download;
mod harness;
mod limits;
mod live;
mod media;
mod memory;
mod mtls;
mod probe;
mod problems;
mod records;
mod restart;
mod shapes;
mod streams;
mod track;
mod upload;
mod walkthrough;
