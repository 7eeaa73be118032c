//! `max-rate`: at most so many events a second to one subscriber, and of more than that a fair sample, errors first.
//!
//! The method is stratified random sampling. A batch is a stratum: of it goes the share at which all that came in the last
//! second, this batch included, would have come to the rate, drawn with every event of the batch equally likely. So each event
//! of a second that is like the one before it has about the same chance, whether it comes early or late, alone or in a crowd;
//! and nothing waits. Above that there is a cap: no second, wherever it begins, has more than the rate. Only where a crowd
//! comes after less than the rate has the first second's share to be a guess: then more of its beginning goes than of its end.
//!
//! Errors (ERROR and FATAL) are drawn among themselves, for the whole rate; the others get what they leave. An error that comes
//! when the others have had the rate goes as well: a second may have twice the rate, where a rate of errors follows one of others.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::SmallRng;
use tokio::time::Instant;

use crate::event::Event;
use crate::level::Level;
use crate::matches::Matches;
use crate::outbox::Missed;
use crate::query::MaxRate;

/// How finely a second is told apart. The last second is the slot that has begun and those before it: a second, or a hundredth
/// less. Were it more, what comes once a second would be counted twice.
const SLOTS: usize = 100;

/// One subscriber's. Its memory is the counts of a second: 3.2 KB.
#[derive(Debug)]
pub(crate) struct RateLimit {
    rate: u64,
    begun: Instant,
    /// The number of the slot that has begun; its counts stand at that number modulo their number.
    now: u64,
    slots: [Counts; SLOTS],
    random: SmallRng,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    errors: Tally,
    others: Tally,
}

#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    came: u64,
    went: u64,
}

/// What a limit makes of the events of a batch.
#[derive(Debug)]
pub(crate) struct Thinned {
    /// In their order. All of them are the batch itself, with the frame that it shares.
    pub(crate) kept: Arc<Matches>,
    pub(crate) left_out: Option<Missed>,
}

impl RateLimit {
    pub(crate) fn new(rate: MaxRate) -> Self {
        Self::with_random(rate, rand::make_rng())
    }

    fn with_random(rate: MaxRate, random: SmallRng) -> Self {
        let slots = [Counts::default(); SLOTS];
        Self { rate: rate.per_second(), begun: Instant::now(), now: 0, slots, random }
    }

    /// Draws what goes of a batch that comes now.
    pub(crate) fn thin(&mut self, matches: Arc<Matches>, now: Instant) -> Thinned {
        self.advance(now);
        let (errors, others): (Vec<usize>, Vec<usize>) =
            (0..matches.events.len()).partition(|index| is_error(&matches.events[*index]));
        let counts = self.slot();
        counts.errors.came += errors.len() as u64;
        counts.others.came += others.len() as u64;
        let kept_errors = self.errors_to_keep(errors.len());
        self.slot().errors.went += kept_errors as u64;
        let kept_others = self.others_to_keep(others.len());
        self.slot().others.went += kept_others as u64;
        if kept_errors + kept_others == matches.events.len() {
            return Thinned { kept: matches, left_out: None };
        }
        let mut is_kept = vec![false; matches.events.len()];
        for (class, count) in [(errors, kept_errors), (others, kept_others)] {
            let drawn = rand::seq::index::sample(&mut self.random, class.len(), count);
            drawn.into_iter().for_each(|index| is_kept[class[index]] = true);
        }
        split(&matches, &is_kept)
    }

    fn errors_to_keep(&mut self, count: usize) -> usize {
        let Tally { came, went } = self.last_second().errors;
        self.draw(count, (self.rate, came), self.rate - went)
    }

    fn others_to_keep(&mut self, count: usize) -> usize {
        let Counts { errors, others } = self.last_second();
        let left = self.rate - errors.went;
        self.draw(count, (left, others.came), left.saturating_sub(others.went))
    }

    /// How many of so many go: the share of the first number in the second, rounded up or down by chance, so that it is right
    /// on average; no more than there is room for.
    fn draw(&mut self, count: usize, (part, whole): (u64, u64), room: u64) -> usize {
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        if whole <= part {
            return count.min(room);
        }
        let share = count as f64 * part as f64 / whole as f64;
        let drawn = (share + self.random.random::<f64>()) as usize;
        drawn.min(count).min(room)
    }

    fn slot(&mut self) -> &mut Counts {
        &mut self.slots[self.now as usize % SLOTS]
    }

    /// Forgets what is longer ago than a second.
    fn advance(&mut self, now: Instant) {
        let slot = Duration::from_secs(1) / SLOTS as u32;
        let passed = now.saturating_duration_since(self.begun).as_nanos() / slot.as_nanos();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        if passed.saturating_sub(self.now) >= SLOTS as u64 {
            self.slots = [Counts::default(); SLOTS];
            self.now = passed;
        }
        while self.now < passed {
            self.now += 1;
            *self.slot() = Counts::default();
        }
    }

    fn last_second(&self) -> Counts {
        let mut sum = Counts::default();
        for Counts { errors, others } in &self.slots {
            sum.errors.add(*errors);
            sum.others.add(*others);
        }
        sum
    }
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.came += other.came;
        self.went += other.went;
    }
}

fn is_error(event: &Event) -> bool {
    event.content().level >= Some(Level::Error)
}

fn split(matches: &Matches, is_kept: &[bool]) -> Thinned {
    let mut kept = Vec::new();
    let mut left_out: Option<Missed> = None;
    for (event, is_kept) in matches.events.iter().zip(is_kept) {
        if *is_kept {
            kept.push(Arc::clone(event));
        } else {
            Missed::add(&mut left_out, Missed::one(event.id));
        }
    }
    Thinned { kept: Arc::new(matches.part(kept)), left_out }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;
    use crate::event::{Content, CreatedAt, EventId, NewEvent};

    fn limit(rate: u32) -> RateLimit {
        let rate = rate.to_string().parse().unwrap();
        RateLimit::with_random(rate, SmallRng::seed_from_u64(7))
    }

    /// Events numbered from `first` on, of which those of `errors` are errors.
    fn batch(first: u64, count: u64, errors: &[u64]) -> Arc<Matches> {
        let event = |number| {
            let level = if errors.contains(&number) { Level::Error } else { Level::Info };
            Arc::new(Event {
                id: EventId::first_at(jiff::Timestamp::from_millisecond(number as i64).unwrap()),
                offset: number,
                size: 1,
                created_at: CreatedAt::new(jiff::Timestamp::UNIX_EPOCH, 0),
                content: Content::Given(NewEvent::new("x").level(level)),
            })
        };
        Arc::new(Matches::new((first..first + count).map(event).collect(), None))
    }

    fn numbers(matches: &Matches) -> Vec<u64> {
        matches.events.iter().map(|event| event.offset).collect()
    }

    fn count_left_out(thinned: &Thinned) -> u64 {
        thinned.left_out.as_ref().map_or(0, |missed| missed.count)
    }

    /// Gives it a batch every so often, and returns how many went of each.
    fn steady(limit: &mut RateLimit, size: u64, every: Duration, batches: u64) -> Vec<u64> {
        let begun = limit.begun;
        let went = (0..batches).map(|number| {
            let now = begun + every * u32::try_from(number).unwrap();
            let thinned = limit.thin(batch(number * size, size, &[]), now);
            assert_eq!(thinned.kept.count() + count_left_out(&thinned), size);
            thinned.kept.count()
        });
        went.collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_exceed_the_rate_goes_as_it_is() {
        let mut limit = limit(50);
        let now = limit.begun;
        let whole = batch(0, 50, &[3]);
        assert!(Arc::ptr_eq(&limit.thin(Arc::clone(&whole), now).kept, &whole));
        assert_eq!(limit.thin(batch(50, 1, &[]), now).kept.count(), 0);
        let later = now + Duration::from_millis(1100);
        assert_eq!(limit.thin(batch(51, 50, &[]), later).kept.count(), 50);
    }

    #[tokio::test(start_paused = true)]
    async fn no_second_has_more_than_the_rate_and_busy_ones_have_nearly_that() {
        for (size, milliseconds) in [(1, 1), (7, 4), (1000, 50), (400, 250), (90, 500)] {
            let mut limit = limit(50);
            let per_second = 1000 / milliseconds;
            let every = Duration::from_millis(milliseconds);
            let went = steady(&mut limit, size, every, 10 * per_second);
            let in_a_second = 990 / usize::try_from(milliseconds).unwrap();
            let seconds = went.windows(in_a_second).map(|second| second.iter().sum::<u64>());
            assert!(seconds.max() <= Some(50), "{size}: {went:?}");
            let average = went.iter().sum::<u64>() / 10;
            assert!((45..=50).contains(&average), "{size}: {average} of 50 a second");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_event_of_a_second_has_about_the_same_chance() {
        const BATCHES: u64 = 20;
        // A crowd at the beginning of each second, and a few now and then.
        let size_of = |place: u64| if place == 0 { 500 } else { 25 };
        let mut limit = limit(100);
        let begun = limit.begun;
        let mut kept = [0.0; BATCHES as usize];
        for number in 0..200 * BATCHES {
            let place = number % BATCHES;
            let now = begun + Duration::from_millis(50) * u32::try_from(number).unwrap();
            let thinned = limit.thin(batch(0, size_of(place), &[]), now);
            if number >= 2 * BATCHES {
                kept[place as usize] += thinned.kept.count() as f64 / size_of(place) as f64 / 198.0;
            }
        }
        let fair = 100.0 / 975.0;
        assert!(kept.iter().all(|share| (share / fair - 1.0).abs() < 0.1), "{fair}: {kept:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn every_event_of_a_batch_has_the_same_chance_and_order_is_kept() {
        let mut kept = [0; 100];
        let mut random = SmallRng::seed_from_u64(1);
        for _ in 0..2000 {
            let rate = "10".parse().unwrap();
            let mut limit = RateLimit::with_random(rate, SmallRng::from_rng(&mut random));
            let begun = limit.begun;
            let numbers = numbers(&limit.thin(batch(0, 100, &[]), begun).kept);
            assert!(numbers.len() == 10 && numbers.is_sorted());
            numbers.iter().for_each(|number| kept[*number as usize] += 1);
        }
        // 200 each; five standard deviations are 67.
        assert!(kept.iter().all(|count| (133..=267).contains(count)), "{kept:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn errors_go_first() {
        let mut limit = limit(10);
        let now = limit.begun;
        let thinned = limit.thin(batch(0, 1000, &[5, 500, 999]), now);
        let numbers = numbers(&thinned.kept);
        assert_eq!(numbers.len(), 10);
        assert!([5, 500, 999].iter().all(|error| numbers.contains(error)), "{numbers:?}");
        // What the others have had is no reason to leave out an error.
        assert_eq!(limit.thin(batch(1000, 7, &[1002, 1006]), now).kept.count(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn of_errors_that_alone_exceed_the_rate_a_sample_goes() {
        let mut limit = limit(10);
        let now = limit.begun;
        let errors: Vec<u64> = (0..100).collect();
        let thinned = limit.thin(batch(0, 200, &errors), now);
        let numbers = numbers(&thinned.kept);
        assert!(numbers.len() == 10 && numbers.iter().all(|number| *number < 100), "{numbers:?}");
        assert_eq!(count_left_out(&thinned), 190);
        assert_eq!(limit.thin(batch(200, 3, &[200, 201, 202]), now).kept.count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_out_is_told_from_its_first_to_its_last() {
        let mut limit = limit(1);
        let now = limit.begun;
        let whole = batch(1, 9, &[5]);
        let thinned = limit.thin(Arc::clone(&whole), now);
        let Missed { count, from, to } = thinned.left_out.unwrap();
        assert_eq!((count, from, to), (8, whole.events[0].id, whole.events[8].id));
    }
}
