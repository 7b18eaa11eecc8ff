//! Compiles `preload.c`, which lets calls of the broker to the system fail, wait, or tell another time.
//!
//! Used by the tests of failing disks and of clocks.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The library in a folder of the test.
#[derive(Clone, Debug)]
pub(crate) struct Preload {
    library: PathBuf,
    settings: Vec<String>,
}

impl Preload {
    pub(crate) fn in_folder(folder: &Path) -> Self {
        let library = folder.join("preload.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crash/preload.c");
        let made = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .arg(&library)
            .arg(source)
            .output()
            .unwrap_or_else(|error| panic!("there is no C compiler ({error}); run `cargo xtask setup`"));
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self { library, settings: Vec::new() }
    }

    /// With this setting, as in the head of `preload.c`.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.settings.retain(|setting| !setting.starts_with(&format!("{name}=")));
        self.settings.push(format!("{name}={value}"));
        self
    }

    /// The words that go before the broker's.
    pub(crate) fn words(&self) -> Vec<String> {
        let library = format!("LD_PRELOAD={}", self.library.display());
        ["env".to_owned(), library].into_iter().chain(self.settings.iter().cloned()).collect()
    }
}
