//! Lets others have their turn on the thread while a large request is read.

/// How many parts are read at a time.
const PARTS_AT_A_TIME: usize = 256;

/// Counts all that is read of a request, of whatever kind.
#[derive(Debug, Default)]
pub(super) struct Pace(usize);

impl Pace {
    /// Another part has been read.
    pub(super) async fn step(&mut self) {
        self.0 += 1;
        if self.0.is_multiple_of(PARTS_AT_A_TIME) {
            tokio::task::yield_now().await;
        }
    }
}
