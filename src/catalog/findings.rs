//! What uploads were told about their media, as it is kept.

use serde::{Deserialize, Serialize};

use super::Tables;
use super::uploads::Status;
use crate::finding::{self, Finding, Findings, Profile, Severity};
use crate::names::{Interface, StreamId};

/// A broken rule, as recorded. How much it matters follows from the stream it is shown in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Found {
    pub(crate) rule: String,
    /// `None` for a rule that this version does not know.
    #[serde(skip_deserializing)]
    pub(crate) severity: Option<Severity>,
    pub(crate) message: String,
    /// Path of the box.
    #[serde(rename = "box", skip_serializing_if = "Option::is_none", default)]
    pub(crate) box_path: Option<String>,
    /// Byte of the body.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", skip_deserializing)]
    pub(crate) clause: Option<&'static str>,
    /// How often; the rest tells of the first time.
    pub(crate) count: u64,
}

/// Leaves those that a profile looks at, with how much they matter there.
pub(crate) fn in_profile(found: &mut Vec<Found>, profile: Profile) {
    found.retain_mut(|found| {
        let Some(rule) = finding::rule(&found.rule) else {
            return true;
        };
        found.severity = rule.severity(profile);
        found.clause = rule.clause;
        found.severity.is_some()
    });
}

impl Interface {
    /// What media are held against.
    pub(crate) fn profile(self) -> Profile {
        match self {
            Self::CmafIngest => Profile::DashIfIngest,
            Self::Dash | Self::Hls => Profile::Matter,
        }
    }
}

impl Tables<'_> {
    /// Adds what an upload was told to the counts of its stream.
    pub(super) fn count_findings(
        &self,
        stream: StreamId,
        findings: &Findings,
        profile: Profile,
    ) -> rusqlite::Result<()> {
        let errors = findings.count(profile, Severity::Error) > 0;
        let warnings = findings.count(profile, Severity::Warning);
        if !errors && warnings == 0 {
            return Ok(());
        }
        self.0
            .prepare_cached(
                "UPDATE stream SET media_errors = media_errors + ?, warnings = warnings + ? WHERE id = ?",
            )?
            .execute((
                errors,
                i64::try_from(warnings).unwrap_or(i64::MAX),
                stream.0,
            ))?;
        Ok(())
    }

    /// Shows what was found in the uploads that paths serve, and in those that are the newest of their
    /// paths and broke a rule; of at most `limit` uploads. Whether there are more.
    pub(crate) fn each_finding(
        &self,
        stream: StreamId,
        limit: usize,
        mut show: impl FnMut(&str, &[Finding]),
    ) -> rusqlite::Result<bool> {
        self.each_finding_by(
            "SELECT u.path, u.findings, p.errors, CASE WHEN p.upload IS NULL THEN '[]' ELSE u.rules END, \
             u.status FROM upload u \
             LEFT JOIN problem p ON p.stream = u.stream AND p.path = u.path AND p.upload = u.id \
             WHERE u.stream = ? AND (u.findings IS NOT NULL OR p.upload IS NOT NULL) \
             AND (p.upload IS NOT NULL OR u.status IN ('accepted', 'incomplete')) ORDER BY u.id",
            stream,
            limit,
            |path, _, findings| show(path, findings),
        )
    }

    /// Shows the same of all other uploads, with what became of them: what was wrong once.
    pub(crate) fn each_past_finding(
        &self,
        stream: StreamId,
        limit: usize,
        show: impl FnMut(&str, Status, &[Finding]),
    ) -> rusqlite::Result<bool> {
        self.each_finding_by(
            "SELECT u.path, u.findings, u.errors, u.rules, u.status FROM upload u \
             LEFT JOIN problem p ON p.stream = u.stream AND p.path = u.path AND p.upload = u.id \
             WHERE u.stream = ? AND (u.findings IS NOT NULL OR u.rules <> '[]') AND p.upload IS NULL \
             AND u.status IN ('superseded', 'rejected', 'aborted') ORDER BY u.id",
            stream,
            limit,
            show,
        )
    }

    fn each_finding_by(
        &self,
        query: &str,
        stream: StreamId,
        limit: usize,
        mut show: impl FnMut(&str, Status, &[Finding]),
    ) -> rusqlite::Result<bool> {
        let mut statement = self.0.prepare_cached(query)?;
        let mut rows = statement.query((stream.0,))?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            if count == limit {
                return Ok(true);
            }
            count += 1;
            let path: String = row.get(0)?;
            let json = |at| {
                Ok::<_, rusqlite::Error>(row.get::<_, Option<String>>(at)?.unwrap_or_default())
            };
            let found: Vec<Found> = serde_json::from_str(&json(1)?).unwrap_or_default();
            let sentences: Vec<String> = serde_json::from_str(&json(2)?).unwrap_or_default();
            let rules: Vec<String> = serde_json::from_str(&json(3)?).unwrap_or_default();
            // Each rule of names and order has its sentence; those on media are among the findings.
            let told = rules
                .iter()
                .zip(sentences)
                .filter_map(|(id, sentence)| Some(Finding::new(finding::rule(id)?, sentence)));
            let mut all: Vec<Finding> = found.into_iter().filter_map(Found::finding).collect();
            for finding in told {
                if all.iter().all(|other| other.rule != finding.rule) {
                    all.push(finding);
                }
            }
            show(&path, Status::from_text(&row.get::<_, String>(4)?), &all);
        }
        Ok(false)
    }
}

impl Found {
    /// As it was found; `None` for a rule that this version does not know.
    fn finding(self) -> Option<Finding> {
        Some(Finding {
            rule: finding::rule(&self.rule)?,
            message: self.message,
            box_path: self.box_path,
            offset: self.offset,
            count: self.count,
        })
    }
}
