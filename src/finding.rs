//! A broken rule, as data.
//!
//! A [`Rule`] is a line of a table, written down once where it is judged; a [`Finding`] says where an
//! upload broke one. Findings do not stop an upload unless its stream asks for that.

mod types;

pub(crate) use types::rule_table;
pub use types::{Finding, Findings, Profile, Rule, Severity};

/// Every rule there is, in the order of its tables.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    TABLES.iter().flat_map(|table| table.iter().copied())
}

/// The rule with this id.
#[must_use]
pub fn rule(id: &str) -> Option<&'static Rule> {
    rules().find(|rule| rule.id == id)
}

/// The tables, each beside the code that judges by it.
static TABLES: &[&[&Rule]] = &[
    crate::cmaf::check::RULES,
    crate::report::manifests::RULES,
    crate::report::alignment::RULES,
    crate::matter::TABLE,
];
