//! Takes the rights of others off files that were there before, made by hand or by another tool.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What group and others may do.
const OTHERS: u32 = 0o077;
/// Files at the top that hold secrets, or headers and addresses of those who uploaded.
const FILES: [&str; 4] = [
    "admin.token",
    "catalog.sqlite3",
    "catalog.sqlite3-wal",
    "catalog.sqlite3-shm",
];
/// Names that one warning lists.
const NAMED: usize = 10;

/// Closes the directories of `root`, what is in `certs`, the token and the catalogue to everybody but their owner,
/// with one warning that names what was open. `root` itself stays as its owner made it, and so does
/// what a symbolic link points to.
pub(super) fn tighten(root: &Path, directories: &[&str]) -> io::Result<()> {
    let mut closed = Vec::new();
    for directory in directories {
        close(&root.join(directory), &mut closed)?;
    }
    for file in FILES {
        close(&root.join(file), &mut closed)?;
    }
    close_tree(&root.join("certs"), &mut closed)?;
    if !closed.is_empty() {
        tracing::warn!(
            "others could read parts of the working directory; closed to them now: {}",
            listed(root, &closed)
        );
    }
    Ok(())
}

fn close_tree(directory: &Path, closed: &mut Vec<PathBuf>) -> io::Result<()> {
    close(directory, closed)?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            close_tree(&entry.path(), closed)?;
        } else {
            close(&entry.path(), closed)?;
        }
    }
    Ok(())
}

fn close(path: &Path, closed: &mut Vec<PathBuf>) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    let mode = found.permissions().mode();
    if !(found.is_file() || found.is_dir()) || mode & OTHERS == 0 {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(mode & 0o700))?;
    closed.push(path.to_owned());
    Ok(())
}

fn listed(root: &Path, paths: &[PathBuf]) -> String {
    let names = paths.iter().take(NAMED).map(|path| {
        let name = path.strip_prefix(root).unwrap_or(path);
        name.display().to_string()
    });
    let mut text = names.collect::<Vec<_>>().join(", ");
    if let Some(more) = paths.len().checked_sub(NAMED).filter(|more| *more > 0) {
        text += &format!(" and {more} more");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_was_open_is_closed_and_links_are_left() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("wd");
        let outside = dir.path().join("outside");
        fs::create_dir_all(root.join("certs/server")).unwrap();
        fs::create_dir(root.join("streams")).unwrap();
        for file in ["certs/server/root.key", "admin.token", "notes"] {
            fs::write(root.join(file), "x").unwrap();
            fs::set_permissions(root.join(file), Permissions::from_mode(0o644)).unwrap();
        }
        fs::write(&outside, "x").unwrap();
        fs::set_permissions(&outside, Permissions::from_mode(0o644)).unwrap();
        std::os::unix::fs::symlink(&outside, root.join("certs/linked.pem")).unwrap();
        fs::set_permissions(root.join("streams"), Permissions::from_mode(0o755)).unwrap();

        tighten(&root, &["streams", "parts"]).unwrap();

        assert_eq!(mode(&root.join("streams")), 0o700);
        assert_eq!(mode(&root.join("certs")), 0o700);
        assert_eq!(mode(&root.join("certs/server")), 0o700);
        assert_eq!(mode(&root.join("certs/server/root.key")), 0o600);
        assert_eq!(mode(&root.join("admin.token")), 0o600);
        assert_eq!(mode(&root.join("notes")), 0o644);
        assert_eq!(mode(&outside), 0o644);
    }

    #[test]
    fn a_long_list_is_cut() {
        let paths: Vec<_> = (0..12).map(|n| PathBuf::from(format!("/wd/{n}"))).collect();
        let text = listed(Path::new("/wd"), &paths);
        assert!(
            text.starts_with("0, 1, ") && text.ends_with(", 9 and 2 more"),
            "{text}"
        );
    }
}
