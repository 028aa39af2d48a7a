//! The report as JUnit, which test runners and continuous integration read.

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use super::{Group, Report, Session};
use crate::finding::{self, Profile, Severity};

pub(super) fn write(report: &Report, profiles: &[Profile]) -> String {
    let mut written = quick_junit::Report::new(report.name.as_str());
    for session in &report.sessions {
        for profile in profiles {
            written.add_test_suite(suite(session, *profile));
        }
    }
    // Writing to memory cannot fail, and what XML cannot hold has been filtered out.
    written.to_string().unwrap_or_default()
}

fn suite(session: &Session, profile: Profile) -> TestSuite {
    let name = match session.name.as_str() {
        "" => profile.as_str().to_owned(),
        name => format!("{name}.{}", profile.as_str()),
    };
    let mut suite = TestSuite::new(name);
    for rule in finding::rules().filter(|rule| rule.severity(profile).is_some()) {
        let broken = session.findings.iter().find(|group| group.rule == rule);
        let failed = broken.filter(|_| rule.severity(profile) == Some(Severity::Error));
        let status = match failed {
            None => TestCaseStatus::success(),
            Some(group) => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status.set_type(rule.id);
                status.set_message(describe(group));
                status
            }
        };
        let mut case = TestCase::new(rule.id, status);
        case.set_classname(profile.as_str());
        let mut told = Vec::new();
        if let (Some(group), None) = (broken, failed) {
            told.push(describe(group));
        }
        // What is served no more is worth knowing, and fails nobody.
        for group in session.past.iter().filter(|group| group.rule == rule) {
            told.push(format!(
                "{}: {}",
                group.status.unwrap_or_default(),
                describe(group)
            ));
        }
        if !told.is_empty() {
            case.set_system_out(told.join("\n"));
        }
        suite.add_test_case(case);
    }
    suite
}

/// What a group says, in one line.
pub(super) fn describe(group: &Group) -> String {
    let first = &group.first;
    let mut line = match (group.count, group.objects) {
        (1, _) => String::new(),
        (times, 1) => format!("{times} times, first "),
        (times, objects) => format!("{times} times in {objects} objects, first "),
    };
    line.push_str(&format!("in {}", first.object));
    match (&first.box_path, first.offset) {
        (Some(path), Some(offset)) => line.push_str(&format!(", {path} at byte {offset}")),
        (Some(path), None) => line.push_str(&format!(", {path}")),
        (None, Some(offset)) => line.push_str(&format!(", byte {offset}")),
        (None, None) => {}
    }
    line.push_str(&format!(": {}", first.message));
    if let Some(clause) = group.clause {
        line.push_str(&format!(" ({clause})"));
    }
    line
}
