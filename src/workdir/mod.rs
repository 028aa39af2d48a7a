//! The working directory: every name in it, and how files come to be there.
//!
//! ```text
//! lock                      held by the running server
//! admin.token               the admin's bearer token (0600)
//! server.url                where the running server is reached; gone when none runs
//! catalog.sqlite3           the catalogue
//! certs/server/NAME.pem     server root and leaf; NAME.key beside it (0600)
//! certs/device/NAME.pem     device root and leaves; NAME.key where the key was made here
//! certs/server-before.pem   what the server shows until clients know its new root, with the key
//! certs/HIERARCHY-next.pem  a root and its key on their way to replace the hierarchy's
//! streams/ID/PATH           objects, byte for byte
//! parts/ID/OBJECT           earlier parts of tracks, and what a cut upload left behind
//! kept/ID/UPLOAD            bytes of rejected and superseded uploads
//! incoming/N                uploads on their way
//! ```
//!
//! All of it is for its owner alone, and is made so at the start where it is not. A file appears under
//! its name by rename, so nobody sees half of it. Only this module joins paths.
//! It knows nothing of what is in the files.

mod found;
mod modes;
mod objects;

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::FlockOperation;
use tempfile::TempDir;

pub(crate) use self::found::{Found, FoundFile};
pub(crate) use self::objects::{ObjectFile, Spool, copy_range, read_range, same_bytes, truncate};
use crate::{Error, Kind, Result};

/// Longest certificate, key or token file that is read.
const MAX_SMALL_FILE: u64 = 1 << 20;
/// Shortest admin token that is accepted: 128 bit in hexadecimal.
const MIN_TOKEN: usize = 32;

/// Where the running server writes its address.
const ADDRESS_FILE: &str = "server.url";
/// The certificate by which commands know the running server; removed with the address.
const SHOWN_FILE: &str = "server.pem";

/// Attempts to remove a directory: uploads that still run may put files into it meanwhile.
const REMOVALS: usize = 5;

/// What a working directory has in it.
const DIRECTORIES: [&str; 6] = [
    "certs/server",
    "certs/device",
    "streams",
    "parts",
    "kept",
    "incoming",
];

/// The two certificate hierarchies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hierarchy {
    /// The server's own certificate and its root.
    Server,
    /// The devices' certificates and their root.
    Device,
}

impl Hierarchy {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Device => "device",
        }
    }
}

/// The working directory of this process. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Workdir(Arc<Inner>);

struct Inner {
    root: PathBuf,
    next_spool: AtomicU64,
    /// Holds the lock as long as the server lives.
    _lock: File,
    /// Removes a temporary directory when the server ends.
    temporary: Mutex<Option<TempDir>>,
}

impl Workdir {
    /// Opens the working directory, making it when it is not there; `None` makes a temporary one.
    ///
    /// # Errors
    /// [`Kind::Conflict`] when another server uses it.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self> {
        let (root, temporary) = match path {
            Some(path) => (path.to_owned(), None),
            None => {
                let made = tempfile::Builder::new()
                    .prefix("pavs-")
                    .tempdir()
                    .map_err(|e| Error::internal("cannot make a temporary working directory", e))?;
                (made.path().to_owned(), Some(made))
            }
        };
        let unusable = |e: io::Error| {
            Error::internal(
                format!("cannot use the working directory {}", root.display()),
                e,
            )
        };
        make_dirs(&root).map_err(unusable)?;
        let root = root.canonicalize().map_err(unusable)?;
        let lock = private_file(&root.join("lock")).map_err(unusable)?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(
            |e| match e {
                rustix::io::Errno::WOULDBLOCK => Error::new(
                    Kind::Conflict,
                    format!(
                        "the working directory {} is in use by another pavs",
                        root.display()
                    ),
                ),
                e => unusable(e.into()),
            },
        )?;
        for dir in DIRECTORIES {
            make_dirs(&root.join(dir)).map_err(unusable)?;
        }
        // Left by a server that was killed.
        remove(&root.join(ADDRESS_FILE))?;
        remove(&root.join(SHOWN_FILE))?;
        modes::tighten(&root, &DIRECTORIES).map_err(unusable)?;
        let inner = Inner {
            root,
            next_spool: AtomicU64::new(1),
            _lock: lock,
            temporary: Mutex::new(temporary),
        };
        Ok(Self(Arc::new(inner)))
    }

    /// Removes a temporary working directory; no other is touched. A second caller waits for the first.
    pub(crate) fn remove_temporary(&self) {
        let mut temporary = self
            .0
            .temporary
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(made) = temporary.take() else {
            return;
        };
        let path = made.keep();
        let removed = (0..REMOVALS).find_map(|_| fs::remove_dir_all(&path).ok());
        if removed.is_none() {
            tracing::warn!("{} could not be removed", path.display());
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.0.root
    }

    /// The catalogue's file, which only its owner may read; SQLite gives its own files the same mode.
    pub(crate) fn catalog_file(&self) -> Result<PathBuf> {
        let path = self.0.root.join("catalog.sqlite3");
        private_file(&path)
            .map_err(|e| Error::internal(format!("cannot open {}", path.display()), e))?;
        Ok(path)
    }

    pub(crate) fn token_file(&self) -> PathBuf {
        self.0.root.join("admin.token")
    }

    /// Says where the server of this directory is reached.
    pub(crate) fn announce(&self, url: &str) -> Result<()> {
        write_small(&self.0.root.join(ADDRESS_FILE), &format!("{url}\n"))
    }

    /// Lets commands know by which certificate (PEM) they know the running server.
    pub(crate) fn announce_certificate(&self, pem: &str) -> Result<()> {
        write_small(&self.0.root.join(SHOWN_FILE), pem)
    }

    /// Takes back what [`Self::announce`] said: the server takes no more requests.
    pub(crate) fn withdraw_announcement(&self) {
        for file in [ADDRESS_FILE, SHOWN_FILE] {
            if let Err(e) = remove(&self.0.root.join(file)) {
                tracing::warn!("{}", e.chain());
            }
        }
    }

    /// Bytes that may still be written to the file system, and its size.
    pub(crate) fn disk_space(&self) -> Result<(u64, u64)> {
        let stat = rustix::fs::statvfs(&self.0.root).map_err(|e| {
            Error::internal("cannot ask for the free disk space", io::Error::from(e))
        })?;
        Ok((
            stat.f_bavail.saturating_mul(stat.f_frsize),
            stat.f_blocks.saturating_mul(stat.f_frsize),
        ))
    }

    /// Path of a file of a hierarchy. `name` is a checked certificate name with `.pem` or `.key`.
    pub(crate) fn cert_file(&self, hierarchy: Hierarchy, name: &str) -> PathBuf {
        self.0
            .root
            .join("certs")
            .join(hierarchy.as_str())
            .join(name)
    }

    /// The file of a root that is about to become a hierarchy's, with its key.
    pub(crate) fn next_root_file(&self, hierarchy: Hierarchy) -> PathBuf {
        let name = format!("{}-next.pem", hierarchy.as_str());
        self.0.root.join("certs").join(name)
    }

    /// The certificate and key that the server shows until clients know its new root.
    pub(crate) fn old_leaf_file(&self) -> PathBuf {
        self.0.root.join("certs").join("server-before.pem")
    }

    /// The certificate and key files of a hierarchy, sorted by name.
    pub(crate) fn cert_files(&self, hierarchy: Hierarchy) -> Result<Vec<String>> {
        let dir = self.cert_file(hierarchy, "");
        let listed = || -> io::Result<Vec<String>> {
            let mut names = Vec::new();
            for entry in fs::read_dir(&dir)? {
                let name = entry?.file_name();
                if let Some(name) = name
                    .to_str()
                    .filter(|n| n.ends_with(".pem") || n.ends_with(".key"))
                {
                    names.push(name.to_owned());
                }
            }
            names.sort_unstable();
            Ok(names)
        };
        listed().map_err(|e| Error::internal(format!("cannot list {}", dir.display()), e))
    }

    /// Number for the next file in `incoming/`.
    fn next_spool(&self) -> PathBuf {
        let number = self.0.next_spool.fetch_add(1, Ordering::Relaxed);
        self.0.root.join("incoming").join(number.to_string())
    }
}

/// The admin's bearer token, made at the first start.
pub(crate) fn admin_token(workdir: &Workdir) -> Result<String> {
    let path = workdir.token_file();
    if let Some(text) = read_small(&path)? {
        let token = text.trim();
        if token.len() < MIN_TOKEN {
            return Err(Error::new(
                Kind::Invalid,
                format!(
                    "{} holds no token of at least {MIN_TOKEN} characters: remove it to have one made",
                    path.display()
                ),
            ));
        }
        return Ok(token.to_owned());
    }
    new_admin_token(workdir)
}

/// Puts a new token in place of the admin's.
pub(crate) fn new_admin_token(workdir: &Workdir) -> Result<String> {
    let path = workdir.token_file();
    let token = random_token()?;
    write_small(&path, &format!("{token}\n"))?;
    tracing::info!("the admin token is in {}", path.display());
    Ok(token)
}

/// 256 random bits in hexadecimal.
pub(crate) fn random_token() -> Result<String> {
    let mut random = [0; 32];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut random)
        .map_err(|_| Error::new(Kind::Internal, "the system has no random numbers"))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What a command on this machine needs to speak to the server that runs in a directory.
pub(crate) struct Announced {
    /// `https://ADDRESS:PORT`.
    pub(crate) url: String,
    /// The certificate that the server shows, PEM.
    pub(crate) certificate: String,
    /// The admin's token.
    pub(crate) token: String,
}

/// Reads what the server that runs in `dir` has announced; `None` when it has not (yet), or none runs.
pub(crate) fn announced(dir: &Path) -> Result<Option<Announced>> {
    let Some(url) = read_small(&dir.join(ADDRESS_FILE))? else {
        return Ok(None);
    };
    let certificate = read_small(&dir.join(SHOWN_FILE))?;
    let token = read_small(&dir.join("admin.token"))?;
    Ok(certificate
        .zip(token)
        .map(|(certificate, token)| Announced {
            url: url.trim().to_owned(),
            certificate,
            token: token.trim().to_owned(),
        }))
}

/// Whether a server has ever run in `dir`: commands make no directory, and tighten none by mistake.
pub(crate) fn is_working_directory(dir: &Path) -> bool {
    dir.join("catalog.sqlite3").is_file() && dir.join("certs").is_dir()
}

/// Runs file work that may take long off the runtime's threads.
pub(crate) async fn blocking<T, F>(work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::internal("file work panicked", e))?
}

/// The text of a small file; `None` when it is not there.
pub(crate) fn read_small(path: &Path) -> Result<Option<String>> {
    let read = || -> io::Result<String> {
        let mut text = String::new();
        let file = File::open(path)?;
        file.take(MAX_SMALL_FILE).read_to_string(&mut text)?;
        Ok(text)
    };
    match read() {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::internal(
            format!("cannot read {}", path.display()),
            e,
        )),
    }
}

/// Writes a small file that only its owner may read, whole or not at all.
pub(crate) fn write_small(path: &Path, text: &str) -> Result<()> {
    let temporary = path.with_added_extension("new");
    let written = || -> io::Result<()> {
        // What an earlier, broken attempt left may have other permissions.
        match fs::remove_file(&temporary) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut file = private_file(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        // What was promised after this must not be undone by a power cut: a token is dead, a root replaced.
        let dir = path.parent().unwrap_or(Path::new("/"));
        File::open(dir)?.sync_all()
    };
    written().map_err(|e| Error::internal(format!("cannot write {}", path.display()), e))
}

/// Removes a file; it may be gone already.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::internal(
            format!("cannot remove {}", path.display()),
            e,
        )),
        _ => Ok(()),
    }
}

fn private_file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

fn make_dirs(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}
