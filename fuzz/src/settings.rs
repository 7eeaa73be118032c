//! Input: a file of settings, in TOML.
//!
//! Nothing panics, and what is wrong with a file is told without the keys that stand in it.

use std::fs;
use std::path::PathBuf;

use telemetry_hub::Settings;

/// Stands in each file as a key. No input is likely to have it.
const KEY: &str = "0fb1b7c2-a-key-that-is-not-shown";

/// Checks one input.
pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if text.contains(KEY) {
        return;
    }
    let mut files = vec![format!("webhook_keys = [\"{KEY}\"]\n{text}")];
    if text.lines().last().is_some_and(|line| line.starts_with("webhook_keys")) {
        files.push(format!("{text}\"{KEY}\"\n"));
    }
    for written in files {
        let said = match load(&written) {
            Ok(settings) => format!("{settings:?}"),
            Err(error) => format!("{error} {error:?}"),
        };
        assert!(!said.contains(KEY), "{said}");
    }
    if let Ok(settings) = load(text) {
        settings.drain_timeout();
    }
}

fn load(text: &str) -> Result<Settings, telemetry_hub::SettingsError> {
    let file = file();
    fs::write(&file, text).expect("there is room for a small file");
    Settings::load(Some(&file), &serde_json::json!({}))
}

/// A file of this thread's own, in memory where there is such a place.
fn file() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
    let thread = format!("{:?}", std::thread::current().id());
    let thread: String = thread.chars().filter(char::is_ascii_digit).collect();
    folder.join(format!("telemetry-hub-fuzz-{}-{thread}.toml", std::process::id()))
}
