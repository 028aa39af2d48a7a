//! Bearer tokens besides the one in `admin.token`.

use rusqlite::{OptionalExtension, Row};
use serde::{Deserialize, Serialize};

use super::Tables;
use crate::clock::Timestamp;

/// What the bearer of a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Everything.
    Admin,
    /// Read everything, change nothing.
    Viewer,
}

impl Role {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Viewer => "viewer",
        }
    }
}

/// A token to be remembered; `hash` is all that is kept of its text.
#[derive(Clone, Debug)]
pub(crate) struct NewToken {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) hash: String,
    pub(crate) by: String,
    pub(crate) ends: Timestamp,
}

/// A token, without its text.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Token {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) created: Timestamp,
    pub(crate) created_by: String,
    pub(crate) ends: Timestamp,
}

const COLUMNS: &str = "id, name, role, created, created_by, ends";

impl Tables<'_> {
    /// Remembers a token; `None` when there is one of this name.
    pub(crate) fn add_token(&self, new: &NewToken) -> rusqlite::Result<Option<Token>> {
        let created = Timestamp::now();
        let added = self.0.execute(
            "INSERT INTO token (name, role, hash, created, created_by, ends) VALUES (?, ?, ?, ?, ?, ?) \
             ON CONFLICT (name) DO NOTHING",
            (
                &new.name,
                new.role.as_str(),
                &new.hash,
                created.as_micros(),
                &new.by,
                new.ends.as_micros(),
            ),
        )?;
        Ok((added == 1).then(|| Token {
            id: self.0.last_insert_rowid(),
            name: new.name.clone(),
            role: new.role,
            created,
            created_by: new.by.clone(),
            ends: new.ends,
        }))
    }

    /// All tokens, by number; also those that have ended.
    pub(crate) fn tokens(&self, after: i64, limit: usize) -> rusqlite::Result<Vec<Token>> {
        self.0
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM token WHERE id > ? ORDER BY id LIMIT ?"
            ))?
            .query_map((after, i64::try_from(limit).unwrap_or(i64::MAX)), token)?
            .collect()
    }

    /// The token with this hash.
    pub(crate) fn token(&self, hash: &str) -> rusqlite::Result<Option<Token>> {
        self.0
            .prepare_cached(&format!("SELECT {COLUMNS} FROM token WHERE hash = ?"))?
            .query_row((hash,), token)
            .optional()
    }

    /// Forgets a token; gives it back if it was there.
    pub(crate) fn remove_token(&self, id: i64) -> rusqlite::Result<Option<Token>> {
        self.0
            .prepare_cached(&format!(
                "DELETE FROM token WHERE id = ? RETURNING {COLUMNS}"
            ))?
            .query_row((id,), token)
            .optional()
    }
}

fn token(row: &Row<'_>) -> rusqlite::Result<Token> {
    let role: String = row.get(2)?;
    Ok(Token {
        id: row.get(0)?,
        name: row.get(1)?,
        role: match role.as_str() {
            "admin" => Role::Admin,
            _ => Role::Viewer,
        },
        created: Timestamp::from_micros(row.get(3)?),
        created_by: row.get(4)?,
        ends: Timestamp::from_micros(row.get(5)?),
    })
}
