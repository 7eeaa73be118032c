//! The ids of events that come out of a stream: UUIDv7 (RFC 9562, section 6.2), made of the stream's own time and sequence, so that
//! every hub gives an event the same.
//!
//! The first 48 bits are the time at which the stream took the message, in milliseconds. The last 62 are the event's [`Place`], to which
//! a number is added that is another in each millisecond: ids of one millisecond are in order, and those of two do not tell how many
//! events came between them. The 12 bits between prove that the id is of this stream. Whoever knows the stream's name and the
//! nanosecond in which it was created can undo that; hubs do.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::event::EventId;

/// Where an event stands in a stream: the sequence number of its message, and its index in that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(u64);

impl Place {
    const INDEX_BITS: u32 = 18;
    /// 2^43 messages: at 10,000 a second, 27 years.
    const BITS: u32 = 61;

    /// So many events may one message have.
    pub(crate) const MAX_EVENTS: usize = 1 << Self::INDEX_BITS;

    pub(crate) fn new(sequence: u64, index: usize) -> Self {
        Self(sequence << Self::INDEX_BITS | index as u64)
    }

    /// The place after which a message's first event comes.
    pub(crate) fn before(sequence: u64) -> Self {
        Self((sequence << Self::INDEX_BITS).saturating_sub(1))
    }

    pub(crate) fn sequence(self) -> u64 {
        self.0 >> Self::INDEX_BITS
    }

    /// Increases from event to event.
    pub(crate) fn number(self) -> u64 {
        self.0
    }
}

/// Makes the ids of one stream, and reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamIds {
    key: [u8; 32],
}

/// What a millisecond is veiled by.
struct Veil {
    proof: u16,
    offset: u64,
}

impl StreamIds {
    /// Of the stream of this name that was created at this nanosecond. One that is deleted and made again is another.
    pub(crate) fn of(stream: &str, created: i128) -> Self {
        let key = Sha256::new().chain_update(created.to_be_bytes()).chain_update(stream).finalize();
        Self { key: key.into() }
    }

    pub(crate) fn id(&self, milliseconds: u64, place: Place) -> EventId {
        let Veil { proof, offset } = self.veil(milliseconds);
        let [time, proof, number] =
            [milliseconds, u64::from(proof), offset + place.0].map(u128::from);
        EventId::new(Uuid::from_u128(time << 80 | 7 << 76 | proof << 64 | 0b10 << 62 | number))
    }

    /// The place of the event with this id; `None` if the id is not of this stream.
    pub(crate) fn place(&self, id: EventId) -> Option<Place> {
        let bits = id.to_u128();
        let Veil { proof, offset } = self.veil((bits >> 80) as u64);
        let number = (bits as u64) & (u64::MAX >> 2);
        let is_ours = (bits >> 76) & 0xf == 7
            && (bits >> 64) & 0xfff == u128::from(proof)
            && (bits >> 62) & 0b11 == 0b10;
        let place = number.checked_sub(offset).filter(|place| place >> Place::BITS == 0)?;
        is_ours.then_some(Place(place))
    }

    fn veil(&self, milliseconds: u64) -> Veil {
        let hash = Sha256::new()
            .chain_update(self.key)
            .chain_update(milliseconds.to_be_bytes())
            .finalize();
        let [a, b, c, d, e, f, g, h, i, j, ..]: [u8; 32] = hash.into();
        Veil {
            proof: u16::from_be_bytes([a, b]) & 0xfff,
            offset: u64::from_be_bytes([c, d, e, f, g, h, i, j]) >> (64 - Place::BITS),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CREATED: i128 = 1_795_342_367_123_456_789;
    const NOW: u64 = 1_795_342_367_107;

    proptest! {
        #[test]
        fn a_place_is_found_again_by_its_id(
            milliseconds in 0..1u64 << 48, sequence in 0..1u64 << 43, index in 0..Place::MAX_EVENTS,
        ) {
            let (ids, place) = (StreamIds::of("S", CREATED), Place::new(sequence, index));
            let id = ids.id(milliseconds, place);
            prop_assert_eq!(ids.place(id), Some(place));
            let uuid: Uuid = id.to_string().parse().unwrap();
            prop_assert_eq!((uuid.get_version_num(), uuid.get_variant()), (7, uuid::Variant::RFC4122));
        }

        #[test]
        fn ids_are_in_the_order_of_time_and_place(
            early in 0..3u64, late in 0..3u64, first in 0..1u64 << 61, second in 0..1u64 << 61,
        ) {
            let ids = StreamIds::of("S", CREATED);
            let [a, b] = [(NOW + early, Place(first)), (NOW + late, Place(second))];
            prop_assert_eq!(a.cmp(&b), ids.id(a.0, a.1).cmp(&ids.id(b.0, b.1)));
        }
    }

    #[test]
    fn the_ids_of_another_stream_are_not_taken_for_this_ones() {
        let (ours, others) = (StreamIds::of("S", CREATED), StreamIds::of("S", CREATED + 1));
        let foreign = |index: usize| others.id(NOW + index as u64, Place::new(7, index));
        let taken = (0..4096).filter(|index| ours.place(foreign(*index)).is_some()).count();
        // One in 4,096 has the same proof by chance, and most of these no place that there can be.
        assert!(taken < 8, "{taken}");
    }

    #[test]
    fn what_comes_before_a_message_is_after_all_of_the_one_before_it() {
        let (last, before) = (Place::new(6, Place::MAX_EVENTS - 1), Place::before(7));
        assert!(last <= before && before < Place::new(7, 0));
        assert_eq!(before.sequence(), 6);
    }

    #[test]
    fn two_ids_do_not_tell_how_many_messages_came_between_them() {
        let ids = StreamIds::of("S", CREATED);
        let number = |milliseconds, sequence| {
            ids.id(milliseconds, Place::new(sequence, 0)).to_u128() as u64 & (u64::MAX >> 2)
        };
        // In consecutive milliseconds: as often less as more.
        let increases = (0..1000).filter(|n| number(NOW + n, *n) < number(NOW + n + 1, n + 1));
        assert!((400..600).contains(&increases.count()));
    }
}
