//! `pavs token`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use comfy_table::{Table, presets};

use super::target::{Directory, Target};
use super::{print, text};
use crate::Result;

/// Arguments of `pavs token`.
#[derive(Args, Debug)]
pub struct Token {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Put a new token into admin.token; the old one is dead at once
    Rotate {
        #[command(flatten)]
        directory: Directory,
    },
    /// Make a token, which is printed this one time
    Add {
        /// What it is called
        name: String,
        /// What its bearer may do: admin (everything) or viewer (read)
        #[arg(long, default_value = "viewer", value_parser = ["admin", "viewer"])]
        role: String,
        /// How long it is good
        #[arg(long, default_value = "90d", value_name = "SPAN")]
        ttl: String,
        #[command(flatten)]
        directory: Directory,
    },
    /// List the tokens, without their text
    List {
        #[command(flatten)]
        directory: Directory,
    },
    /// Withdraw a token: it is dead at once
    Remove {
        /// Its number in the list
        id: u32,
        #[command(flatten)]
        directory: Directory,
    },
}

impl Token {
    pub(super) fn run(self) -> ExitCode {
        match self.what {
            What::Rotate { directory } => directory.run(rotate),
            What::Add {
                name,
                role,
                ttl,
                directory,
            } => directory.run(async |target| {
                let wanted = serde_json::json!({"name": name, "role": role, "ttl": ttl});
                let made = target.send("POST", "/api/v1/tokens", Some(&wanted)).await?;
                print(&format!("{}\n", text(&made, "token")));
                Ok(())
            }),
            What::List { directory } => directory.run(list),
            What::Remove { id, directory } => directory.run(async |target| {
                let path = format!("/api/v1/tokens/{id}");
                target.send("DELETE", &path, None).await.map(drop)
            }),
        }
    }
}

async fn rotate(target: &Target) -> Result<()> {
    let rotated = target.send("POST", "/api/v1/tokens/rotate", None).await?;
    // The file is for its owner alone; a terminal's history is not.
    print(&format!("the new token is in {}\n", text(&rotated, "file")));
    Ok(())
}

async fn list(target: &Target) -> Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["ID", "NAME", "ROLE", "ENDS", "MADE BY"]);
    for token in target.all("/api/v1/tokens", "tokens").await? {
        table.add_row([
            &token["id"].to_string(),
            text(&token, "name"),
            text(&token, "role"),
            text(&token, "ends"),
            text(&token, "created_by"),
        ]);
    }
    print(&format!("{table}\n"));
    Ok(())
}
