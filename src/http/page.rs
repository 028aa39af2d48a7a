//! Listings in pages: `?after=&limit=`.

use serde::Deserialize;

use crate::{Error, Kind, Result};

const DEFAULT: usize = 100;
const MAX: usize = 1000;

/// Which page is asked for.
#[derive(Deserialize)]
pub(super) struct Page<K> {
    pub(super) after: Option<K>,
    limit: Option<usize>,
}

impl<K> Page<K> {
    /// The page of usual length that comes after this one.
    pub(super) fn after(after: Option<K>) -> Self {
        Self { after, limit: None }
    }

    /// Entries of the page.
    pub(super) fn limit(&self) -> Result<usize> {
        match self.limit.unwrap_or(DEFAULT) {
            limit @ 1..=MAX => Ok(limit),
            _ => Err(Error::new(
                Kind::Shape,
                "limit must be a number from 1 to 1000",
            )),
        }
    }
}

/// The first `limit` of `rows`, and where the next page begins if there are more.
pub(super) fn paged<T, K>(
    mut rows: Vec<T>,
    limit: usize,
    key: impl Fn(&T) -> K,
) -> (Vec<T>, Option<K>) {
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(key);
    (rows, next)
}
