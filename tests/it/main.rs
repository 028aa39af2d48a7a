//! Black-box tests: the real binary, real TLS, public URLs only.
//!
//! A test whose name begins with `dNN_` shows that a defect of the Python server that `pavs`
//! replaces is not there; [`defects`] lists them by number.

mod access;
mod adopted;
mod certs;
mod cli;
mod clients;
mod defects;
mod download;
mod dropin;
mod events;
mod findings;
mod harness;
mod lifecycle;
mod limits;
mod live;
mod mdns;
mod media;
mod memory;
mod mtls;
mod offline;
mod order;
mod probe;
mod problems;
mod push;
mod records;
mod refusals;
mod report;
mod restart;
mod roots;
mod shapes;
mod streams;
mod strict;
mod track;
mod upload;
mod view;
mod walkthrough;
