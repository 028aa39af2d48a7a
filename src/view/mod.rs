//! What there is to see, as data: the bodies of the JSON routes that the page is drawn from.
//!
//! A route and the page call the same function here, so that the page shows nothing that the API does
//! not say. Knows the catalogue and how to read a header; knows neither HTTP nor HTML.

pub(crate) mod boxes;
mod headers;
pub(crate) mod overview;
pub(crate) mod status;
pub(crate) mod timeline;

pub(crate) use self::headers::{Header, Headers};
