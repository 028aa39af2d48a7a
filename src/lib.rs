//! `pavs` is the server that cameras push to: it gives them an identity, takes their CMAF media over
//! mutual TLS, stores every byte, and says what is in it.
//!
//! Reading order: [`server`] wires everything; `http` is the edge, `ingest` takes uploads, `live` lets
//! readers follow them, `catalog` and `workdir` keep them; [`cmaf`] and [`isobmff`] understand them;
//! [`probe`] tells what is in an object; `access` decides who may do what, [`pki`] and `tls` know who somebody is.

mod access;
mod catalog;
pub mod cli;
mod clock;
pub mod cmaf;
pub mod config;
mod error;
mod http;
mod identity;
mod ingest;
pub mod isobmff;
mod live;
mod matter;
mod metrics;
mod names;
pub mod pki;
pub mod probe;
pub mod server;
pub mod telemetry;
mod tls;
mod workdir;

pub use error::{Error, Kind, Result};
