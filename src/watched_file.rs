//! Files that are replaced while the server runs, as keys and certificates are: what was made of one is made anew when its text
//! has changed.
//!
//! Files are read every few seconds, and compared as a whole: modification times are too coarse, and what puts a file in place
//! (a rename, a link to another folder) tells every watcher something else.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::error_chain::error_chain;

/// No key or certificate is larger: what is has been mistaken for one.
const MAX_BYTES: u64 = 1 << 20;

/// Why nothing could be made of a file.
#[derive(Debug, thiserror::Error)]
#[error("{}", file.display())]
pub struct FileError {
    file: PathBuf,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl FileError {
    pub(crate) fn new(
        file: &Path,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { file: file.to_owned(), source: source.into() }
    }
}

/// Something that can be looked at again.
pub(crate) trait Reload: Send + Sync {
    /// Reads the files, and makes what is to be made of them if they have changed. Keeps what there was if that fails.
    fn reload(&self) -> Reloaded;
}

/// What became of another look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reloaded {
    Unchanged,
    Replaced,
    Failed,
}

/// What was made of some files. Whoever asks gets what is newest.
pub(crate) struct Watched<T> {
    files: Vec<PathBuf>,
    make: Make<T>,
    made: RwLock<Arc<T>>,
    /// The texts that were looked at last, whether or not something could be made of them; none if they could not be read.
    seen: Mutex<Option<Vec<Vec<u8>>>>,
}

type Make<T> = Box<dyn Fn(&[Vec<u8>]) -> Result<T, FileError> + Send + Sync>;

impl<T> Watched<T> {
    /// Reads the files for the first time. `make` gets a text for each.
    pub(crate) fn open(
        files: Vec<PathBuf>,
        make: impl Fn(&[Vec<u8>]) -> Result<T, FileError> + Send + Sync + 'static,
    ) -> Result<Self, FileError> {
        let texts = read_all(&files)?;
        let made = RwLock::new(Arc::new(make(&texts)?));
        Ok(Self { files, make: Box::new(make), made, seen: Mutex::new(Some(texts)) })
    }

    pub(crate) fn get(&self) -> Arc<T> {
        Arc::clone(&self.made.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn try_reload(&self) -> Result<Reloaded, FileError> {
        let read = read_all(&self.files);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // What is bad is told once, not at every look.
        if seen.as_ref() == read.as_ref().ok() {
            return Ok(Reloaded::Unchanged);
        }
        *seen = None;
        let texts = read?;
        let made = (self.make)(&texts);
        *seen = Some(texts);
        *self.made.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(made?);
        Ok(Reloaded::Replaced)
    }
}

impl<T: Send + Sync> Reload for Watched<T> {
    fn reload(&self) -> Reloaded {
        let outcome = self.try_reload();
        match &outcome {
            Ok(Reloaded::Replaced) => tracing::info!(files = ?self.files, "read anew"),
            Ok(_) => {}
            Err(error) => {
                tracing::error!("{}; what was read before stays good", error_chain(error));
            }
        }
        outcome.unwrap_or(Reloaded::Failed)
    }
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watched").field(&self.files).finish()
    }
}

fn read_all(files: &[PathBuf]) -> Result<Vec<Vec<u8>>, FileError> {
    files.iter().map(|file| read(file).map_err(|error| FileError::new(file, error))).collect()
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read;
    if !std::fs::metadata(file)?.is_file() {
        // One that is written to by another program would be waited for.
        return Err(io::Error::other("not a file"));
    }
    let mut text = Vec::new();
    std::fs::File::open(file)?.take(MAX_BYTES + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("larger than any key or certificate"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(texts: &[Vec<u8>]) -> Result<u32, FileError> {
        let text = String::from_utf8_lossy(&texts[0]);
        text.trim().parse().map_err(|error| FileError::new(Path::new("number"), format!("{error}")))
    }

    #[test]
    fn what_changes_is_made_anew_and_what_is_bad_changes_nothing() {
        let folder = std::env::temp_dir().join(format!("watched-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("number");
        std::fs::write(&file, "1").unwrap();
        let watched = Watched::open(vec![file.clone()], number).unwrap();
        assert_eq!((*watched.get(), watched.reload()), (1, Reloaded::Unchanged));
        let before = watched.get();
        for (text, outcome, value) in [
            ("2", Reloaded::Replaced, 2),
            ("2", Reloaded::Unchanged, 2),
            ("x", Reloaded::Failed, 2),
            ("x", Reloaded::Unchanged, 2),
            ("3", Reloaded::Replaced, 3),
        ] {
            std::fs::write(&file, text).unwrap();
            assert_eq!((watched.reload(), *watched.get()), (outcome, value), "{text}");
        }
        assert_eq!(*before, 1, "who had it keeps it");
        std::fs::remove_dir_all(&folder).unwrap();
        for outcome in [Reloaded::Failed, Reloaded::Unchanged] {
            assert_eq!((watched.reload(), *watched.get()), (outcome, 3));
        }
    }

    #[test]
    fn a_file_that_is_no_key_is_not_read_to_its_end() {
        assert!(Watched::open(vec!["/dev/zero".into()], |_| Ok(())).is_err());
        assert!(Watched::open(vec!["/".into()], |_| Ok(())).is_err());
        let large = std::env::temp_dir().join(format!("large-{}", std::process::id()));
        std::fs::File::create(&large).unwrap().set_len(MAX_BYTES + 1).unwrap();
        assert!(Watched::open(vec![large.clone()], |_| Ok(())).is_err());
        std::fs::remove_file(large).unwrap();
    }
}
