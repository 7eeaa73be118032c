//! A TOML file. What is wrong with it is told without its text: a key may stand in the same line.

use std::path::Path;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map};
use figment::{Metadata, Profile, Provider};

pub(super) struct TomlFile<'a>(pub(super) &'a Path);

impl Provider for TomlFile<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::from("TOML file", self.0)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let text = std::fs::read_to_string(self.0).map_err(|error| error.to_string())?;
        let settings: Dict = Toml::from_str(&text).map_err(|error| {
            let (line, column) = position(&text, error.span().map_or(0, |span| span.start));
            let message = error.message().replace('\n', ", ");
            format!("line {line}, column {column}: {message}")
        })?;
        Ok(Map::from([(Profile::Default, settings)]))
    }
}

/// The line and the column of a byte, both counted from 1.
fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = text.char_indices().take_while(|(at, _)| *at < byte);
    before.fold((1, 1), |(line, column), (_, character)| match character {
        '\n' => (line + 1, 1),
        _ => (line, column + 1),
    })
}
