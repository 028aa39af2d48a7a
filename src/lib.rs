//! `pavs` is the server that cameras push to: it gives them an identity, takes their CMAF media over
//! mutual TLS, stores every byte, and says what is in it.
//!
//! Reading order: [`server`] wires everything; `http` is the edge, `ingest` takes uploads, `live` lets
//! readers follow them, `catalog` and `workdir` keep them; [`cmaf`] and [`isobmff`] understand them;
//! [`probe`] tells what is in an object; `push` is the other side, a camera; `access` decides who may do what, [`pki`] and `tls` know who somebody is.

mod access;
mod adopt;
mod catalog;
pub mod cli;
mod clock;
pub mod cmaf;
pub mod commands;
pub mod config;
mod error;
pub mod fault;
pub mod finding;
mod http;
mod identity;
mod ingest;
pub mod isobmff;
pub mod layout;
mod live;
pub mod manifest;
mod matter;
mod mdns;
mod metrics;
mod names;
pub mod pki;
pub mod probe;
mod push;
mod refusals;
pub mod report;
pub mod server;
pub mod telemetry;
mod tls;
mod ui;
mod view;
mod workdir;

pub use error::{Error, Kind, Result};
