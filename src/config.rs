//! Settings of the server: what may be said, and the plain values it comes to.
//!
//! [`Options`] is what one source says: the flags (with their environment variables), or the
//! file. [`Config`] is what holds: flags win over environment over file over defaults.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};
use serde::{Deserialize, Deserializer};

use crate::fault::Faults;

/// Who may do what without a client certificate or the admin token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Requests from this machine may do everything, others need a certificate or the token.
    Local,
    /// Everybody may do everything.
    Open,
    /// Everything needs a certificate or the token.
    Closed,
}

impl Access {
    /// As it is written in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One readable line per event.
    #[default]
    Text,
    /// One JSON object per event.
    Json,
}

/// A length of time, written as `15s`, `2m`, `1h 30m`, `365d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match humantime::parse_duration(text) {
            Ok(length) if length.is_zero() => Err("must be longer than 0s".to_owned()),
            Ok(length) => Ok(Self(length)),
            Err(e) => Err(format!("{e} (write 15s, 2m, 1h or 365d)")),
        }
    }
}

/// A number of bytes, written as `4096`, `64KiB`, `16GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<bytesize::ByteSize>()
            .map(|size| Self(size.as_u64()))
            .map_err(|e| format!("{e} (write 4096, 64KiB or 16GiB)"))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Bytes(u64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Bytes(bytes) => Ok(Self(bytes)),
            Written::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

/// What one source (command line and environment, or the file) says. `None` means it says nothing.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Options {
    /// Address or name to listen on; may be repeated [default: localhost]
    #[arg(long, env = "PAVS_HOST", value_name = "HOST", value_delimiter = ',')]
    pub host: Option<Vec<String>>,

    /// Port to listen on; 0 takes any free one [default: 1234]
    #[arg(long, env = "PAVS_PORT", value_name = "PORT")]
    pub port: Option<u16>,

    /// Directory for certificates, streams and records [default: a temporary one, removed at the end]
    #[arg(long, env = "PAVS_WORKING_DIRECTORY", value_name = "DIR")]
    pub working_directory: Option<PathBuf>,

    /// New streams refuse uploads that break the rules of their interface
    #[arg(long, env = "PAVS_STRICT_MODE", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub strict_mode: Option<bool>,

    /// New streams refuse uploads whose media have errors
    #[arg(long, env = "PAVS_STRICT_MEDIA", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub strict_media: Option<bool>,

    /// DNS name that goes into the server certificate and is advertised by mDNS as
    /// NAME._http._tcp.local; may be repeated
    #[arg(long, env = "PAVS_DNS", value_name = "NAME", value_delimiter = ',')]
    pub dns: Option<Vec<String>>,

    /// IP address that goes into the server certificate; may be repeated
    #[arg(long, env = "PAVS_SERVER_IP", value_name = "IP", value_delimiter = ',')]
    pub server_ip: Option<Vec<IpAddr>>,

    /// Who may do what without certificate or token [default: local on loopback, else closed]
    #[arg(long, env = "PAVS_ACCESS", value_name = "MODE")]
    pub access: Option<Access>,

    /// How log lines are written [default: text]
    #[arg(long, env = "PAVS_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,

    /// How long a new device certificate is valid [default: 365d]
    #[arg(long, env = "PAVS_DEVICE_VALIDITY", value_name = "SPAN")]
    pub device_validity: Option<Span>,

    /// How long a certificate that the server makes for itself is valid; renewed at half of it [default: 730d]
    #[arg(long, env = "PAVS_SERVER_VALIDITY", value_name = "SPAN")]
    pub server_validity: Option<Span>,

    /// Certificate of the server, made elsewhere, with those above it; read anew when it changes
    #[arg(long, env = "PAVS_SERVER_CERT", value_name = "FILE")]
    pub server_cert: Option<PathBuf>,

    /// Its key; read anew when it changes
    #[arg(long, env = "PAVS_SERVER_KEY", value_name = "FILE")]
    pub server_key: Option<PathBuf>,

    /// Authorities made elsewhere whose devices are taken; may be repeated
    #[arg(
        long,
        env = "PAVS_DEVICE_CA",
        value_name = "FILE",
        value_delimiter = ','
    )]
    pub device_ca: Option<Vec<PathBuf>>,

    /// How long a device's earlier certificates are taken after it got a new one [default: 24h]
    #[arg(long, env = "PAVS_RENEWAL_OVERLAP", value_name = "SPAN")]
    pub renewal_overlap: Option<Span>,

    /// Where devices and others reach the server, for what names it: `https://HOST[:PORT]`
    #[arg(long, env = "PAVS_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,

    /// Longest TLS handshake [default: 10s]
    #[arg(long, env = "PAVS_HANDSHAKE_TIMEOUT", value_name = "SPAN")]
    pub handshake_timeout: Option<Span>,

    /// Longest wait for a whole request header [default: 15s]
    #[arg(long, env = "PAVS_HEADER_TIMEOUT", value_name = "SPAN")]
    pub header_timeout: Option<Span>,

    /// How long a connection without a request is kept [default: 120s]
    #[arg(long, env = "PAVS_KEEP_ALIVE_TIMEOUT", value_name = "SPAN")]
    pub keep_alive_timeout: Option<Span>,

    /// Longest silence in a body with Content-Length [default: 15s]
    #[arg(long, env = "PAVS_BODY_TIMEOUT", value_name = "SPAN")]
    pub body_timeout: Option<Span>,

    /// Longest silence in a body without Content-Length [default: 90s]
    #[arg(long, env = "PAVS_CHUNKED_BODY_TIMEOUT", value_name = "SPAN")]
    pub chunked_body_timeout: Option<Span>,

    /// Time without an upload after which a session may begin anew [default: 120s]
    #[arg(long, env = "PAVS_SESSION_TIMEOUT", value_name = "SPAN")]
    pub session_timeout: Option<Span>,

    /// How long running uploads may go on after SIGINT or SIGTERM [default: 10s]
    #[arg(long, env = "PAVS_SHUTDOWN_TIMEOUT", value_name = "SPAN")]
    pub shutdown_timeout: Option<Span>,

    /// Largest object [default: 16GiB]
    #[arg(long, env = "PAVS_MAX_OBJECT_SIZE", value_name = "SIZE")]
    pub max_object_size: Option<Size>,

    /// Largest manifest (.mpd, .m3u8) [default: 4MiB]
    #[arg(long, env = "PAVS_MAX_MANIFEST_SIZE", value_name = "SIZE")]
    pub max_manifest_size: Option<Size>,

    /// Most connections at a time [default: 4096, less where the open-file limit is low]
    #[arg(long, env = "PAVS_MAX_CONNECTIONS", value_name = "N")]
    pub max_connections: Option<usize>,

    /// Faults to have on purpose, for those who test cameras: PATH-REGEX=status:503@10%, or delay:2s, reset, hang; may be repeated
    #[arg(long, env = "PAVS_FAULT", value_name = "FAULT")]
    pub fault: Option<Vec<String>>,

    /// Uploads are refused while less than this is free on the disk [default: 1GiB]
    #[arg(long, env = "PAVS_MIN_FREE_DISK", value_name = "SIZE")]
    pub min_free_disk: Option<Size>,
}

impl Options {
    /// Reads the file. Unknown keys and wrong values are errors that name the line.
    ///
    /// # Errors
    /// One line of text that names the file and, for its contents, the line.
    pub fn from_file(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| format!("cannot read configuration file {}: {e}", path.display()))?;
        toml::from_str(&text).map_err(|e| {
            let before = e
                .span()
                .map_or("", |span| text.get(..span.start).unwrap_or(""));
            let line = before.matches('\n').count();
            let written = text.lines().nth(line).unwrap_or_default().trim();
            let message = e.message().replace('\n', " ");
            format!(
                "{}, line {}: {message} in `{written}`",
                path.display(),
                line + 1
            )
        })
    }

    /// What `self` says, and where it is silent what `other` says.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        macro_rules! merged {
            ($($field:ident),* $(,)?) => { Self { $($field: self.$field.or(other.$field)),* } };
        }
        merged!(
            host,
            port,
            working_directory,
            strict_mode,
            strict_media,
            dns,
            server_ip,
            access,
            log_format,
            device_validity,
            server_validity,
            server_cert,
            server_key,
            device_ca,
            renewal_overlap,
            public_url,
            handshake_timeout,
            header_timeout,
            keep_alive_timeout,
            body_timeout,
            chunked_body_timeout,
            session_timeout,
            shutdown_timeout,
            max_object_size,
            max_manifest_size,
            max_connections,
            fault,
            min_free_disk,
        )
    }
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// 127.0.0.1 and, where the machine has it, ::1, on the same port.
    Localhost,
    /// An address, or a name to resolve when the server starts.
    Named(String),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Localhost => f.write_str("localhost"),
            Self::Named(name) => f.write_str(name),
        }
    }
}

/// Time and size limits. Every wait and every buffer of the server has one.
#[derive(Clone, Debug)]
pub struct Limits {
    /// TLS handshake.
    pub handshake: Duration,
    /// From the first byte of a request to the end of its header.
    pub header: Duration,
    /// Connection without a request.
    pub keep_alive: Duration,
    /// Silence within a body that has a Content-Length.
    pub body: Duration,
    /// Silence within a body without Content-Length.
    pub chunked_body: Duration,
    /// Between two uploads of a session; after it, the session may begin anew.
    pub session: Duration,
    /// From the signal to the end of the process.
    pub shutdown: Duration,
    /// Bytes of one object.
    pub object_size: u64,
    /// Bytes of one manifest.
    pub manifest_size: u64,
    /// Connections at a time; `None` leaves it to the open-file limit.
    pub connections: Option<usize>,
    /// Free bytes on the disk below which uploads are refused.
    pub free_disk: u64,
}

/// The settings that hold.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; never empty.
    pub hosts: Vec<Host>,
    /// Port of every listener; 0 takes any free one.
    pub port: u16,
    /// Working directory; `None` is a temporary one.
    pub working_directory: Option<PathBuf>,
    /// Strict mode of new streams.
    pub strict_mode: bool,
    /// Whether new streams refuse errors in media.
    pub strict_media: bool,
    /// DNS names for the server certificate.
    pub dns: Vec<String>,
    /// IP addresses for the server certificate.
    pub server_ips: Vec<IpAddr>,
    /// Access mode; `None` follows from the listeners.
    pub access: Option<Access>,
    /// Validity of new device certificates.
    pub device_validity: Duration,
    /// Validity of certificates that the server makes for itself.
    pub server_validity: Duration,
    /// Certificate and key of the server, where they were made elsewhere.
    pub server_cert: Option<(PathBuf, PathBuf)>,
    /// Files of authorities made elsewhere whose devices are taken.
    pub device_ca: Vec<PathBuf>,
    /// How long earlier certificates of a device stay good.
    pub renewal_overlap: Duration,
    /// `https://HOST[:PORT]` without a slash at its end, as it is known outside.
    pub public_url: Option<String>,
    /// Faults that uploads meet on purpose.
    pub faults: Faults,
    /// Limits.
    pub limits: Limits,
}

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;
/// Certificates carry dates up to the year 9999; a century is beyond any camera's life.
const MAX_VALIDITY: Duration = Duration::from_secs(100 * 365 * 86_400);

impl Config {
    /// Fills in the defaults and checks what one value alone cannot tell.
    ///
    /// # Errors
    /// One line of text that says which setting is wrong and what it takes.
    pub fn resolve(options: Options) -> Result<Self, String> {
        let span = |given: Option<Span>, default_secs| {
            given.map_or(Duration::from_secs(default_secs), |s| s.0)
        };
        let size = |given: Option<Size>, default| given.map_or(default, |s| s.0);
        let mut hosts = Vec::new();
        for name in options.host.unwrap_or_else(|| vec!["localhost".to_owned()]) {
            let host = match name.trim() {
                "" => return Err("--host must not be empty".to_owned()),
                "localhost" => Host::Localhost,
                name => Host::Named(name.trim_matches(['[', ']']).to_owned()),
            };
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
        if hosts.is_empty() {
            return Err("--host needs at least one address or name".to_owned());
        }
        let dns = options.dns.unwrap_or_default();
        if let Some(name) = dns.iter().find(|name| !is_dns_name(name)) {
            return Err(format!(
                "--dns {name:?} is not a DNS name (letters, digits, '-' and '.')"
            ));
        }
        if options.max_connections == Some(0) {
            return Err("--max-connections must be at least 1".to_owned());
        }
        let device_validity = span(options.device_validity, 365 * 86_400);
        if device_validity > MAX_VALIDITY {
            return Err("--device-validity must be at most 36500d".to_owned());
        }
        let renewal_overlap = span(options.renewal_overlap, 86_400);
        if renewal_overlap > MAX_VALIDITY {
            return Err("--renewal-overlap must be at most 36500d".to_owned());
        }
        let server_validity = span(options.server_validity, 730 * 86_400);
        if server_validity > MAX_VALIDITY {
            return Err("--server-validity must be at most 36500d".to_owned());
        }
        let server_cert = match (options.server_cert, options.server_key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (Some(_), None) => return Err("--server-cert needs --server-key".to_owned()),
            (None, Some(_)) => return Err("--server-key needs --server-cert".to_owned()),
        };
        let public_url = options.public_url.as_deref().map(public_url).transpose()?;
        Ok(Self {
            hosts,
            port: options.port.unwrap_or(1234),
            working_directory: options.working_directory,
            strict_mode: options.strict_mode.unwrap_or(false),
            strict_media: options.strict_media.unwrap_or(false),
            dns,
            server_ips: options.server_ip.unwrap_or_default(),
            access: options.access,
            device_validity,
            server_validity,
            server_cert,
            device_ca: options.device_ca.unwrap_or_default(),
            renewal_overlap,
            public_url,
            faults: Faults::parse(&options.fault.unwrap_or_default())?,
            limits: Limits {
                handshake: span(options.handshake_timeout, 10),
                header: span(options.header_timeout, 15),
                keep_alive: span(options.keep_alive_timeout, 120),
                body: span(options.body_timeout, 15),
                chunked_body: span(options.chunked_body_timeout, 90),
                session: span(options.session_timeout, 120),
                shutdown: span(options.shutdown_timeout, 10),
                object_size: size(options.max_object_size, 16 * GIB),
                manifest_size: size(options.max_manifest_size, 4 * MIB),
                connections: options.max_connections,
                free_disk: size(options.min_free_disk, GIB),
            },
        })
    }
}

/// An origin: what comes behind it is ours.
fn public_url(text: &str) -> Result<String, String> {
    let text = text.strip_suffix('/').unwrap_or(text);
    let wrong = || format!("--public-url {text:?} must be https://HOST or https://HOST:PORT");
    let uri: axum::http::Uri = text.parse().map_err(|_| wrong())?;
    let is_origin = uri.scheme_str() == Some("https")
        && uri.host().is_some_and(|host| !host.is_empty())
        && uri.path() == "/"
        && uri.query().is_none()
        && !text.contains('@');
    is_origin.then(|| text.to_owned()).ok_or_else(wrong)
}

/// Letters, digits, hyphens and underscores in labels of 1 to 63, at most 253 in all; `*` may lead.
fn is_dns_name(name: &str) -> bool {
    let labels = name.strip_suffix('.').unwrap_or(name);
    let labels = labels.strip_prefix("*.").unwrap_or(labels);
    name.len() <= 253
        && labels.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Options, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pavs.toml");
        std::fs::write(&file, text).unwrap();
        Options::from_file(&file)
    }

    #[test]
    fn flags_win_over_the_file() {
        let flags = Options {
            port: Some(1),
            ..Options::default()
        };
        let file = parsed("port = 2\nstrict-mode = true\nmin-free-disk = \"2GiB\"\n").unwrap();
        let config = Config::resolve(flags.or(file)).unwrap();
        assert_eq!(config.port, 1);
        assert!(config.strict_mode);
        assert_eq!(config.limits.free_disk, 2 * GIB);
        assert_eq!(config.limits.object_size, 16 * GIB);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let error = parsed("port = 2\n\nprot = 3\n").unwrap_err();
        assert!(
            error.contains("line 3") && error.contains("prot"),
            "{error}"
        );
    }

    #[test]
    fn a_wrong_value_is_named_with_its_line() {
        let error = parsed("# limits\nbody-timeout = \"soon\"\n").unwrap_err();
        assert!(error.contains("line 2"), "{error}");
        assert!(
            parsed("body-timeout = \"0s\"")
                .unwrap_err()
                .contains("longer than 0s")
        );
    }

    #[test]
    fn a_server_certificate_needs_its_key() {
        let file = || Some(PathBuf::from("x.pem"));
        for (cert, key, good) in [
            (file(), file(), true),
            (None, None, true),
            (file(), None, false),
            (None, file(), false),
        ] {
            let options = Options {
                server_cert: cert,
                server_key: key,
                ..Options::default()
            };
            assert_eq!(Config::resolve(options).is_ok(), good);
        }
    }

    #[test]
    fn hosts_are_listed_once_and_brackets_are_taken_off() {
        let host = |names: &[&str]| Options {
            host: Some(names.iter().map(|n| (*n).to_owned()).collect()),
            ..Options::default()
        };
        let config = Config::resolve(host(&["localhost", "[::1]", "localhost"])).unwrap();
        assert_eq!(
            config.hosts,
            [Host::Localhost, Host::Named("::1".to_owned())]
        );
        assert!(Config::resolve(host(&[""])).is_err());
    }

    #[test]
    fn the_public_url_is_an_origin() {
        for (given, kept) in [
            ("https://ingest.example.org", "https://ingest.example.org"),
            ("https://192.0.2.1:8443/", "https://192.0.2.1:8443"),
            ("https://[2001:db8::1]:1234", "https://[2001:db8::1]:1234"),
        ] {
            assert_eq!(public_url(given).as_deref(), Ok(kept));
        }
        for given in [
            "",
            "ingest.example.org",
            "http://ingest.example.org",
            "https://",
            "https://h/path",
            "https://h?q",
            "https://user@h",
        ] {
            assert!(public_url(given).is_err(), "{given}");
        }
    }

    #[test]
    fn dns_names_are_checked() {
        for good in [
            "cam.local",
            "NAME._http._tcp.local.",
            "*.example.org",
            "localhost",
        ] {
            assert!(is_dns_name(good), "{good}");
        }
        for bad in ["", "a b", "a..b", "ü.example", "-/"] {
            assert!(!is_dns_name(bad), "{bad}");
        }
    }
}
