//! Many add to a sum, set it and read it at once: nothing is lost, and what is read is what it was at some time.

use std::sync::Arc;

use loom::thread;

use super::Total;
use crate::metric_store::places::Room;

/// What a thread does.
type Act = fn(&Total);

/// Threads that do these things to a sum of 5, and one that reads it: only these values may be seen, and this one at last.
#[track_caller]
fn check(acts: &[Act], seen: &'static [f64], at_last: &'static [f64]) {
    let acts = acts.to_vec();
    loom::model(move || {
        let total = Arc::new(Total::default());
        total.add(5.0);
        let spawn = |act: Act| {
            let total = Arc::clone(&total);
            thread::spawn(move || act(&total))
        };
        let threads: Vec<_> = acts.iter().map(|act| spawn(*act)).collect();
        let read = total.get();
        assert!(seen.contains(&read), "{read} was never the sum");
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let read = total.get();
        assert!(at_last.contains(&read), "{read} at last");
    });
}

#[test]
fn nothing_that_is_added_is_lost() {
    let (whole, part): (Act, Act) = (|total| total.add(2.0), |total| total.add(0.5));
    check(&[whole, part], &[5.0, 5.5, 7.0, 7.5], &[7.5]);
    check(&[part, part], &[5.0, 5.5, 6.0], &[6.0]);
}

#[test]
fn what_is_read_while_the_sum_is_set_is_what_it_was() {
    let add_and_set: Act = |total| {
        total.add(3.0);
        total.set(1.0);
    };
    check(&[add_and_set], &[5.0, 8.0, 1.0], &[1.0]);
    let set_and_add: Act = |total| {
        total.set(1.0);
        total.add(3.0);
    };
    check(&[set_and_add], &[5.0, 1.0, 4.0], &[4.0]);
    let add_and_raise: Act = |total| {
        total.add(3.0);
        total.raise(10.0);
    };
    check(&[add_and_raise], &[5.0, 8.0, 10.0], &[10.0]);
    check(&[|total| total.add(3.0), |total| total.set(1.0)], &[5.0, 8.0, 1.0, 4.0], &[1.0, 4.0]);
}

#[test]
fn a_sum_that_is_raised_never_falls() {
    loom::model(|| {
        let total = Arc::new(Total::default());
        let raising = Arc::clone(&total);
        let raising = thread::spawn(move || {
            raising.add(3.0);
            raising.raise(10.0);
            raising.add(1.0);
        });
        let (first, second) = (total.get(), total.get());
        assert!(first <= second, "{first}, then {second}");
        raising.join().unwrap();
        assert_eq!(total.get(), 11.0);
    });
}

#[test]
fn no_more_places_are_taken_than_there_are() {
    loom::model(|| {
        let room = Arc::new(Room::new(1));
        let other = Arc::clone(&room);
        let other = thread::spawn(move || other.take());
        let taken = [room.take(), other.join().unwrap()];
        assert!(taken[0] != taken[1], "{taken:?}");
        assert!(room.is_full());
    });
}
