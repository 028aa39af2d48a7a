//! The Matter profile: which uploads a stream may take, and in which order.
//!
//! ```text
//! names    path → what it is
//! rules    what is asked of uploads, as a table
//! facts    all that a verdict depends on; recorded with the upload
//! session  (session, track, facts) → verdict: broken rules, and what changes
//! ```
//!
//! All of it is pure: the records of a stream's uploads, judged again from the start, give the verdicts
//! and sessions that the live run gave. Broken rules are reported the same whether a stream enforces
//! them or not, and an upload that breaks one moves no session.

mod facts;
mod names;
mod rules;
mod session;

pub(crate) use self::facts::{Facts, of_manifest};
pub(crate) use self::names::Name;
pub(crate) use self::rules::TABLE;
pub(crate) use self::session::{
    Change, Session, Standing, Track, TrackState, Upload, Verdict, judge, judge_alone, waits_for,
};

#[cfg(test)]
mod tests;
