//! The ids of events that come out of a stream: UUIDv7 (RFC 9562, section 6.2, method 3), made of the stream's own time and sequence, so
//! that every hub gives an event the same.
//!
//! The first 60 bits, but for the version, are the time at which the stream took the message, its [`Tick`]; each message has one of its
//! own, later than that of the one before. (Where servers give it no later time, as their clocks differ or are coarse, the next tick is
//! taken: then a hub that has not read the one before may give an event another id. Its place is the same on all hubs.) The last 62 are the event's [`Place`], shuffled and veiled otherwise in each tick: ids do not
//! tell how many messages came between two of them, and one that is made up of another leads nowhere near it. Within a message the
//! positions go on by steps that nobody can foretell. Whoever knows the stream's key can undo that; hubs do.
//!
//! Nothing in an id proves of which stream it is. It is one of this stream's if it leads to a message that there can be, to none after the
//! `last`. One that is made up does so by chance in one of 2^44 / (`last` + 1) cases: of a stream that has taken a million messages one
//! in 17 million, of one that has taken a billion one in 17,000.

use sha2::{Digest, Sha256};

use crate::event::EventId;
use crate::event_ids::step;
use crate::tick::{COUNTER_BITS, Tick};

/// Where an event stands in a stream: the sequence number of its message, and its position in that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(u64);

impl Place {
    /// So many events may one message have.
    pub(crate) const MAX_EVENTS: usize = 1 << POSITION_BITS;

    fn new(sequence: u64, position: u64) -> Self {
        Self(sequence << POSITION_BITS | position)
    }

    /// The place after which a message's first event comes, behind all of the message before it.
    pub(crate) fn before(sequence: u64) -> Self {
        Self((sequence << POSITION_BITS).saturating_sub(1))
    }

    pub(crate) fn sequence(self) -> u64 {
        self.0 >> POSITION_BITS
    }

    fn position(self) -> u64 {
        self.0 & mask(POSITION_BITS)
    }

    /// Increases from event to event.
    pub(crate) fn number(self) -> u64 {
        self.0
    }
}

const POSITION_BITS: u32 = 18;

/// 2^43 messages: at 10,000 a second, 27 years. They are shuffled in two parts.
const RIGHT_BITS: u32 = 21;
const LEFT_BITS: u32 = COUNTER_BITS - (POSITION_BITS + 1) - RIGHT_BITS;

fn mask(bits: u32) -> u64 {
    (1 << bits) - 1
}

/// Makes the ids of one stream, and reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamIds {
    key: [u8; 32],
}

impl StreamIds {
    /// Of the stream of this name that was created at this nanosecond, with the key that it was given, if it was. One that is deleted and
    /// made again is another.
    pub(crate) fn of(stream: &str, created: i128, key: Option<&str>) -> Self {
        let mut hash = Sha256::new().chain_update(created.to_be_bytes()).chain_update(stream);
        if let Some(key) = key {
            // No name has that in it.
            hash = hash.chain_update([0]).chain_update(key);
        }
        Self { key: hash.finalize().into() }
    }

    pub(crate) fn id(&self, tick: Tick, place: Place) -> EventId {
        let veil = self.veil(tick);
        tick.id(veil.beginning(place.sequence()) + place.position())
    }

    /// The ids and the places of a message's events. A hub that makes them must have read the whole message.
    pub(crate) fn of_message(&self, tick: Tick, sequence: u64, events: usize) -> MessageIds {
        // So short that all of them have room in the message's places: of the number of events they tell its binary digits at most.
        let room = Place::MAX_EVENTS / events.clamp(1, Place::MAX_EVENTS);
        MessageIds {
            tick,
            beginning: self.veil(tick).beginning(sequence),
            steps: Generator(self.hash(&[&sequence.to_be_bytes(), b"steps"])),
            step_bits: room.ilog2(),
            sequence,
            next: 0,
            left: events,
        }
    }

    /// The place of the event with this id; `None` if the id is not of this stream, or not of its messages up to the `last`.
    pub(crate) fn place(&self, id: EventId, last: u64) -> Option<Place> {
        let tick = Tick::of_id(id);
        let counter = id.to_u128() as u64 & mask(COUNTER_BITS);
        let place = self.veil(tick).place(counter).filter(|place| place.sequence() <= last);
        place.filter(|_| tick.id(counter) == id)
    }

    fn veil(&self, tick: Tick) -> Veil {
        let mut random = Generator(self.hash(&[&tick.number().to_be_bytes()]));
        let offset = random.next() & mask(POSITION_BITS);
        Veil { keys: [(); 4].map(|()| random.next()), offset }
    }

    fn hash(&self, parts: &[&[u8]]) -> u64 {
        let mut hash = Sha256::new().chain_update(self.key);
        parts.iter().for_each(|part| hash.update(part));
        let [a, b, c, d, e, f, g, h, ..]: [u8; 32] = hash.finalize().into();
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

/// What hides the places of a tick: its sequence numbers are shuffled (a Feistel network of four rounds), so that a neighbour's is
/// anywhere, and the positions begin somewhere.
#[derive(Debug)]
struct Veil {
    keys: [u64; 4],
    offset: u64,
}

impl Veil {
    /// What the first position of a message is written as.
    fn beginning(&self, sequence: u64) -> u64 {
        self.shuffled(sequence) << (POSITION_BITS + 1) | self.offset
    }

    fn place(&self, counter: u64) -> Option<Place> {
        let position = (counter & mask(POSITION_BITS + 1)).checked_sub(self.offset)?;
        let sequence = self.unshuffled(counter >> (POSITION_BITS + 1));
        (position <= mask(POSITION_BITS)).then(|| Place::new(sequence, position))
    }

    fn shuffled(&self, sequence: u64) -> u64 {
        let (mut left, mut right) = (sequence >> RIGHT_BITS, sequence & mask(RIGHT_BITS));
        for (round, key) in self.keys.iter().enumerate() {
            turn(round, *key, &mut left, &mut right);
        }
        left << RIGHT_BITS | right
    }

    fn unshuffled(&self, shuffled: u64) -> u64 {
        let (mut left, mut right) = (shuffled >> RIGHT_BITS, shuffled & mask(RIGHT_BITS));
        for (round, key) in self.keys.iter().enumerate().rev() {
            turn(round, *key, &mut left, &mut right);
        }
        left << RIGHT_BITS | right
    }
}

/// One round, which undoes itself.
fn turn(round: usize, key: u64, left: &mut u64, right: &mut u64) {
    if round.is_multiple_of(2) {
        *left ^= Generator(key ^ *right).next() & mask(LEFT_BITS);
    } else {
        *right ^= Generator(key ^ *left).next() & mask(RIGHT_BITS);
    }
}

/// See [`StreamIds::of_message`].
#[derive(Debug)]
pub(crate) struct MessageIds {
    tick: Tick,
    beginning: u64,
    steps: Generator,
    step_bits: u32,
    sequence: u64,
    /// The least position that the next event may have.
    next: u64,
    left: usize,
}

impl Iterator for MessageIds {
    type Item = (EventId, Place);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        // Also to the first event.
        self.next += step(self.steps.next(), self.step_bits);
        let position = self.next - 1;
        Some((self.tick.id(self.beginning + position), Place::new(self.sequence, position)))
    }
}

/// Numbers out of a seed (SplitMix64): quick, and for ever the same, as hubs of different builds must agree. It is no cipher; who works
/// one out knows of one message or tick.
#[derive(Debug)]
struct Generator(u64);

impl Generator {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    const CREATED: i128 = 1_795_342_367_123_456_789;
    const KEY: Option<&str> = Some("8f14e45fceea167a5a36dedd4bea2543");

    fn ours() -> StreamIds {
        StreamIds::of("S", CREATED, KEY)
    }

    fn places(sequence: u64, events: usize) -> Vec<Place> {
        ours().of_message(Tick::some(0), sequence, events).map(|(_, place)| place).collect()
    }

    /// From each event of a message to the next one.
    fn steps(sequence: u64, events: usize) -> Vec<u64> {
        places(sequence, events).windows(2).map(|pair| pair[1].0 - pair[0].0).collect()
    }

    proptest! {
        #[test]
        fn a_place_is_found_again_by_its_id(
            ticks in 0..1u64 << 40, sequence in 0..1u64 << 43, position in 0..1u64 << 18,
        ) {
            let tick = Tick::some(ticks);
            let (ids, place) = (ours(), Place::new(sequence, position));
            let id = ids.id(tick, place);
            prop_assert_eq!((ids.place(id, sequence), Tick::of_id(id)), (Some(place), tick));
            prop_assert!(sequence == 0 || ids.place(id, sequence - 1).is_none());
            let uuid: Uuid = id.to_string().parse().unwrap();
            prop_assert_eq!((uuid.get_version_num(), uuid.get_variant()), (7, uuid::Variant::RFC4122));
        }

        #[test]
        fn ids_are_in_the_order_of_their_ticks(
            ticks in 0..1u64 << 40, first in 0..1u64 << 61, second in 0..1u64 << 61,
        ) {
            prop_assert!(ours().id(Tick::some(ticks), Place(first)) < ours().id(Tick::some(ticks).next(), Place(second)));
        }

        #[test]
        fn within_a_message_they_are_in_the_order_of_their_places(
            ticks in 0..1u64 << 40, sequence in 0..1u64 << 43, first in 0..1u64 << 18, second in 0..1u64 << 18,
        ) {
            let [first, second] = [first, second].map(|position| Place::new(sequence, position));
            let [early, late] = [first, second].map(|place| ours().id(Tick::some(ticks), place));
            prop_assert_eq!(first.cmp(&second), early.cmp(&late));
        }

        #[test]
        fn the_ids_of_a_message_increase_and_are_its_own(
            sequence in 0..1u64 << 43, events in prop_oneof![0..20usize, Just(1000)],
        ) {
            let made: Vec<_> = ours().of_message(Tick::some(5), sequence, events).collect();
            prop_assert_eq!(made.len(), events);
            prop_assert!(made.is_sorted_by(|a, b| a < b));
            for (id, place) in made {
                prop_assert!(Place::before(sequence) < place && place.sequence() == sequence);
                prop_assert_eq!((ours().id(Tick::some(5), place), ours().place(id, sequence)), (id, Some(place)));
            }
        }
    }

    #[test]
    fn a_message_has_room_for_the_most_events() {
        for events in [1, 3, Place::MAX_EVENTS / 2 + 1, Place::MAX_EVENTS] {
            let places = places(7, events);
            assert!(places.is_sorted_by(|a, b| a < b));
            assert!(Place::before(7) < places[0] && places[events - 1] <= Place::before(8));
        }
    }

    #[test]
    fn an_id_of_another_stream_is_taken_for_this_ones_as_rarely_as_is_said() {
        let others = [
            StreamIds::of("S", CREATED + 1, KEY),
            StreamIds::of("T", CREATED, KEY),
            StreamIds::of("S", CREATED, None),
            StreamIds::of("S", CREATED, Some("other")),
        ];
        let foreign = |n: u64| others[n as usize % 4].id(Tick::some(n), Place::new(n, n));
        let taken =
            |last| (0..16_384).filter(|n| ours().place(foreign(*n), last).is_some()).count();
        // One in 4,096 is four of them, one in 256 is 64.
        assert!((1..16).contains(&taken((1 << 32) - 1)), "{}", taken((1 << 32) - 1));
        assert!((40..90).contains(&taken((1 << 36) - 1)), "{}", taken((1 << 36) - 1));
        assert_eq!(taken(1_000_000), 0);
    }

    #[test]
    fn what_is_no_uuid_of_version_7_is_not_taken_for_an_id() {
        let id = ours().id(Tick::some(0), Place::new(7, 0));
        for bit in [62, 63, 76, 79] {
            let other = EventId::new(Uuid::from_u128(id.to_u128() ^ 1 << bit));
            assert_eq!(ours().place(other, u64::MAX), None, "{bit}");
        }
    }

    #[test]
    fn what_comes_before_a_message_is_after_all_of_the_one_before_it() {
        let (last, before) = (Place::new(6, (1 << 18) - 1), Place::before(7));
        assert!(last <= before && before < Place::new(7, 0));
        assert_eq!(before.sequence(), 6);
    }

    #[test]
    fn two_ids_of_a_millisecond_do_not_tell_how_many_messages_came_between_them() {
        let number = |n| ours().id(Tick::some(n), Place::new(n, 0)).to_u128() as u64 & mask(62);
        // In consecutive ticks: as often less as more.
        let increases = (0..1000).filter(|n| number(*n) < number(n + 1)).count();
        assert!((400..600).contains(&increases), "{increases}");
    }

    #[test]
    fn an_id_that_is_made_of_another_leads_nowhere_near_it() {
        let ids: Vec<_> = ours().of_message(Tick::some(7), 500_000, 3).map(|(id, _)| id).collect();
        let led = |added: u128| {
            let made_up = EventId::new(Uuid::from_u128(ids[1].to_u128() + added));
            ours().place(made_up, 1_000_000).map(Place::sequence)
        };
        // Within its message, if only a little is added, and then to none that there is.
        assert_eq!(led(1), Some(500_000));
        assert_eq!((1..1_000).filter_map(|n| led(n << 19)).count(), 0);
    }

    #[test]
    fn a_small_step_within_a_message_does_not_tell_how_many_events_it_has() {
        let lengths = |steps: Vec<u64>| {
            let mut found = [0; 18];
            steps.iter().for_each(|step| found[step.ilog2() as usize] += 1);
            found
        };
        let of_two = lengths((0..17_000).flat_map(|sequence| steps(sequence, 2)).collect());
        let of_many = lengths((0..8).flat_map(|sequence| steps(sequence, 1_001)).collect());
        // Of two events' steps, 17 lengths are equally frequent; of 1,001 events' the first eight of them.
        assert!(of_two[..17].iter().all(|found| (850..1150).contains(found)), "{of_two:?}");
        assert!(of_many[..8].iter().all(|found| (850..1150).contains(found)), "{of_many:?}");
        assert_eq!((of_two[17], of_many[8..].iter().sum::<i32>()), (0, 0));
    }

    #[test]
    fn a_messages_first_event_is_not_always_at_its_beginning() {
        let firsts = (0..1000).map(|sequence| places(sequence, 1)[0]);
        let at_beginning = firsts.filter(|first| *first == Place::new(first.sequence(), 0)).count();
        // One step of 18 lengths.
        assert!((20..100).contains(&at_beginning), "{at_beginning}");
    }

    /// Hubs of one stream may be of different builds: what changes these ids is a change that breaks.
    #[test]
    fn ids_are_what_they_have_always_been() {
        let ids = |stream: StreamIds| {
            let made = stream.of_message(Tick::some(1234), 56_789, 3).map(|(id, _)| id.to_string());
            made.collect::<Vec<_>>()
        };
        assert_eq!(
            ids(ours()),
            [
                "01a202be-7983-74d2-bd86-d484ab728fc6",
                "01a202be-7983-74d2-bd86-d484ab728fd1",
                "01a202be-7983-74d2-bd86-d484ab72a861",
            ]
        );
        assert_eq!(
            ids(StreamIds::of("S", CREATED, None)),
            [
                "01a202be-7983-74d2-b225-eb753f23cd92",
                "01a202be-7983-74d2-b225-eb753f241823",
                "01a202be-7983-74d2-b225-eb753f242a5b",
            ]
        );
    }
}
