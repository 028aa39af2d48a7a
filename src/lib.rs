//! `pavs` is the server that cameras push to: it gives them an identity, takes their CMAF media over
//! mutual TLS, stores every byte, and says what is in it.

pub mod cmaf;
mod error;
#[allow(dead_code, unused_imports, reason = "until the server composes it")]
mod tls;

pub use error::{Error, Kind, Result};
