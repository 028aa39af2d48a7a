//! `pavs rules`.

use std::fmt::Write;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::answer;
use crate::finding::{self, Profile, Rule};

/// Arguments of `pavs rules`.
#[derive(Args, Debug)]
pub struct Rules {
    /// How they are written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// List instead what pavs push can do wrong: name, outcome, rule, what it does
    #[arg(long, conflicts_with = "format")]
    misbehave: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// A line each
    Text,
    /// An array
    Json,
    /// docs/rules.md
    Markdown,
}

impl Rules {
    pub(super) fn run(self) -> ExitCode {
        if self.misbehave {
            return answer(&crate::push::misbehaviours(), ExitCode::SUCCESS);
        }
        let text = match self.format {
            Format::Text => text(),
            Format::Json => json(),
            Format::Markdown => markdown(),
        };
        answer(&text, ExitCode::SUCCESS)
    }
}

fn text() -> String {
    let mut out = String::new();
    for rule in finding::rules() {
        let severities = Profile::ALL.map(|profile| {
            let severity = severity(rule, profile);
            format!("{} {severity}", profile.as_str())
        });
        let _ = writeln!(out, "{}: {}", rule.id, rule.sentence);
        let clause = rule.clause.map(|clause| format!("; {clause}"));
        let _ = writeln!(
            out,
            "    looks at {}; {}{}",
            rule.looks_at,
            severities.join(", "),
            clause.unwrap_or_default()
        );
    }
    out
}

fn json() -> String {
    let all: Vec<_> = finding::rules()
        .map(|rule| {
            json!({
                "id": rule.id,
                "sentence": rule.sentence,
                "clause": rule.clause,
                "looks_at": rule.looks_at,
                "severity": crate::report::BySeverity(rule),
            })
        })
        .collect();
    let mut out = serde_json::to_string_pretty(&all).unwrap_or_default();
    out.push('\n');
    out
}

fn markdown() -> String {
    let mut out = String::from(
        "# Rules\n\n\
         What uploads are held against. This page is the output of `pavs rules --format markdown`.\n\n\
         How much a broken rule matters differs by profile: `cmaf` is the letter of ISO/IEC 23000-19, \
         `dash-if-ingest` DASH-IF Live Media Ingest, `matter` Matter Push AV; `-` where it is not looked \
         at. A clause is named where it is known.\n\n\
         | rule | what holds | looks at | cmaf | dash-if-ingest | matter | clause |\n\
         |---|---|---|---|---|---|---|\n",
    );
    let cell = |text: &str| text.replace('|', "\\|").replace('<', "\\<");
    for rule in finding::rules() {
        let [cmaf, ingest, matter] = Profile::ALL.map(|profile| severity(rule, profile));
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {cmaf} | {ingest} | {matter} | {} |",
            rule.id,
            cell(rule.sentence),
            cell(rule.looks_at),
            cell(rule.clause.unwrap_or_default())
        );
    }
    out
}

fn severity(rule: &Rule, profile: Profile) -> &'static str {
    rule.severity(profile)
        .map_or("-", |severity| severity.as_str())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_page_is_what_the_command_prints() {
        assert!(
            markdown() == include_str!("../../docs/rules.md"),
            "write it anew: cargo run -- rules --format markdown >docs/rules.md"
        );
    }

    #[test]
    fn a_rule_has_an_id_of_its_own_and_says_what_holds() {
        let mut ids = HashSet::new();
        for rule in finding::rules() {
            let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            assert!(rule.id.bytes().all(allowed), "{}", rule.id);
            assert!(ids.insert(rule.id), "{} is there twice", rule.id);
            assert!(
                !rule.sentence.is_empty() && !rule.looks_at.is_empty(),
                "{}",
                rule.id
            );
            let told = rule.severities.iter().any(Option::is_some);
            assert!(told, "{} is looked at in no profile", rule.id);
            assert!(text().contains(rule.sentence) && json().contains(rule.id));
        }
    }
}
