//! The files of the page, built into the program.

/// A file of the page.
pub(crate) struct Asset {
    pub(crate) media_type: &'static str,
    pub(crate) bytes: &'static [u8],
}

/// Changes with every build that could hold other files.
pub(crate) fn version() -> &'static str {
    static VERSION: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    VERSION.get_or_init(|| {
        let mut all = ring::digest::Context::new(&ring::digest::SHA256);
        for name in NAMES {
            all.update(find(name).map_or(&[][..], |asset| asset.bytes));
        }
        let digest = all.finish();
        digest
            .as_ref()
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    })
}

const NAMES: [&str; 6] = [
    "style.css",
    "page.js",
    "player.js",
    "icon.svg",
    "shaka-player.js",
    "shaka-player.LICENSE.txt",
];

/// The file of that name.
pub(crate) fn find(name: &str) -> Option<Asset> {
    const SCRIPT: &str = "text/javascript; charset=utf-8";
    let (media_type, bytes): (_, &'static [u8]) = match name {
        "style.css" => (
            "text/css; charset=utf-8",
            include_bytes!("assets/style.css"),
        ),
        "page.js" => (SCRIPT, include_bytes!("assets/page.js")),
        "player.js" => (SCRIPT, include_bytes!("assets/player.js")),
        "icon.svg" => ("image/svg+xml", include_bytes!("assets/icon.svg")),
        "shaka-player.js" => (
            SCRIPT,
            include_bytes!("assets/vendor/shaka-player-5.2.12.js"),
        ),
        "shaka-player.LICENSE.txt" => (
            "text/plain; charset=utf-8",
            include_bytes!("assets/vendor/shaka-player-LICENSE"),
        ),
        _ => return None,
    };
    Some(Asset { media_type, bytes })
}
