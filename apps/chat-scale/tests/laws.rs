//! Laws that a simulation must obey, whatever its constants are.

use chat_scale::gaps::{Gaps, repair};
use chat_scale::hot_room::{HotRoom, write};
use chat_scale::keys::{KeyedRoom, cost, kept_for, memory, reads, share_with};
use chat_scale::outage::{Outage, simulate_outage};
use chat_scale::presence::{Network, silences};
use chat_scale::restart::{Ending, restart};
use chat_scale::storm::{Storm, Turns, simulate_storm};
use chat_scale::{Agenda, Bucket, Queue, SCENARIOS, Sample, exponential};
use fastrand::Rng;

/// Returns true if a value is within a share of another one.
fn is_near(value: f64, expected: f64, share: f64) -> bool {
    (value - expected).abs() <= share * expected
}

/// Returns the mean time in a queue with random arrivals, and the mean number of those who are in it.
fn queue(load: f64, work: impl Fn(&mut Rng) -> f64) -> (f64, f64) {
    enum Event {
        Arrive,
        Done,
    }
    let mut random = Rng::with_seed(7);
    let (mut agenda, mut queue, mut times) = (Agenda::default(), Queue::new(usize::MAX), Sample::default());
    let (mut area, mut before) = (0.0, 0.0);
    agenda.add(0.0, Event::Arrive);
    while times.count() < 400_000 {
        let event = agenda.next_event().expect("arrivals never end");
        area += queue.len() as f64 * (agenda.now() - before);
        before = agenda.now();
        let begins = match event {
            Event::Arrive => {
                agenda.add_in(exponential(&mut random, 1.0 / load), Event::Arrive);
                queue.add(agenda.now())
            }
            Event::Done => {
                let (arrived, goes_on) = queue.finish();
                times.add(agenda.now() - arrived.expect("it was in work"));
                goes_on
            }
        };
        if begins {
            agenda.add_in(work(&mut random), Event::Done);
        }
    }
    (times.mean(), area / agenda.now())
}

#[test]
fn a_queue_has_the_times_that_the_theory_of_queues_gives() {
    for load in [0.3, 0.6, 0.8] {
        // M/M/1: random arrivals, and random work with the mean 1.
        let (time, inside) = queue(load, |random| exponential(random, 1.0));
        assert!(is_near(time, 1.0 / (1.0 - load), 0.05), "M/M/1 at {load}: {time}");
        // Little's law.
        assert!(is_near(inside, load * time, 0.02), "{inside} are inside, for {time}");
        // M/D/1: the work always takes 1.
        let (time, _) = queue(load, |_| 1.0);
        assert!(is_near(time, 1.0 + load / (2.0 * (1.0 - load)), 0.05), "M/D/1 at {load}: {time}");
    }
}

#[test]
fn events_come_in_the_order_of_their_times_and_of_their_addition() {
    let mut agenda = Agenda::default();
    for (at, event) in [(2.0, 'd'), (1.0, 'b'), (1.0, 'c'), (0.5, 'a')] {
        agenda.add(at, event);
    }
    let events: String = std::iter::from_fn(|| agenda.next_event()).collect();
    assert_eq!((events.as_str(), agenda.now()), ("abcd", 2.0));
}

#[test]
fn a_full_queue_discards_all_and_a_bucket_keeps_its_rate() {
    let mut queue = Queue::new(2);
    assert!(queue.add('a') && !queue.add('b'));
    assert!(!queue.add('c'), "the server works for the first one");
    assert_eq!((queue.discarded, queue.is_empty()), (3, true));
    assert_eq!(queue.finish(), (None, false));
    assert!(queue.add('d'));
    assert_eq!((queue.finish(), queue.served), ((Some('d'), false), 1));

    let mut bucket = Bucket::new(10.0);
    let times: Vec<f64> = [0.0, 0.0, 0.05, 7.0].map(|now| bucket.admit(now)).to_vec();
    assert_eq!(times, [0.0, 0.1, 0.2, 7.0]);
}

fn storm() -> Storm {
    Storm {
        clients: 2_000,
        back: (0.0, 2.0),
        open: vec![0.0, 0.5, 1.0],
        requests: (1, 2),
        rate: 800.0,
        queue: 300,
        openings: None,
        markers: None,
    }
}

#[test]
fn each_client_of_a_storm_is_back_or_counted() {
    for seed in 0..5 {
        let endless = Storm { requests: (50, 100), rate: 200.0, ..storm() };
        let admitted = Storm { requests: (0, 1), openings: Some((Turns::NONE, 500.0)), ..storm() };
        let few = Turns { at_once: 20, waiting: 200, time: 0.5 };
        let limited = Storm { openings: Some((few, 500.0)), markers: Some(few), ..admitted.clone() };
        for storm in [storm(), endless, admitted, limited] {
            let result = simulate_storm(&storm, seed);
            assert_eq!(result.back.count() + result.missing, storm.clients);
        }
    }
}

#[test]
fn a_leader_that_is_twice_as_fast_makes_no_storm_longer() {
    for seed in 0..5 {
        let mut before = f64::INFINITY;
        for rate in [200.0, 400.0, 800.0, 1_600.0, 3_200.0, 1e9] {
            let result = simulate_storm(&Storm { rate, queue: usize::MAX, ..storm() }, seed);
            let [last] = result.back.shares([1.0]);
            let length = if result.missing > 0 { f64::INFINITY } else { last };
            assert!(length <= before, "seed {seed}: {length} s at {rate}, {before} s before");
            before = length;
        }
        // Without a wait at the leader, a storm is as long as the time in which clients return.
        assert!((1.9..2.1).contains(&before), "{before}");
    }
}

#[test]
fn an_admitted_storm_refuses_nobody_and_lasts_as_long_as_its_openings() {
    let admitted = 500.0;
    let openings = Some((Turns::NONE, admitted));
    let storm = Storm { open: vec![0.0; 3], requests: (0, 1), openings, ..storm() };
    let result = simulate_storm(&storm, 3);
    let [last] = result.back.shares([1.0]);
    assert_eq!((result.unavailable, result.requests), (0, 6_000));
    assert!(is_near(last, 6_000.0 / admitted, 0.02), "{last}");
}

#[test]
fn a_storm_with_turns_never_fills_the_queue_of_a_leader() {
    let turns = Turns { at_once: 100, waiting: usize::MAX, time: f64::INFINITY };
    let storm = Storm { requests: (0, 1), queue: 101, openings: Some((turns, 1e9)), ..storm() };
    let result = simulate_storm(&storm, 4);
    let [last] = result.back.shares([1.0]);
    // Each request is answered, so there is one for each opening: three rooms, of which half are open.
    assert!(result.unavailable == 0 && is_near(result.requests as f64, 3_000.0, 0.05), "{}", result.requests);
    assert!(is_near(last, result.requests as f64 / storm.rate, 0.05), "{last}");
    // Without turns, requests are discarded.
    let unlimited = simulate_storm(&Storm { openings: None, ..storm.clone() }, 4);
    assert!(unlimited.requests > result.requests, "{} {}", unlimited.requests, result.requests);
    // Each join has the number of unread messages, or is counted.
    let counts = Turns { at_once: 5, waiting: 50, time: 5.0 };
    let counted = simulate_storm(&Storm { markers: Some(counts), ..storm.clone() }, 4);
    let joins = (storm.clients * storm.open.len()) as u64;
    assert_eq!(counted.requests - result.requests + counted.uncounted, joins);
    assert!(counted.uncounted > 0 && counted.unavailable == 0);
}

#[test]
fn each_send_of_an_outage_is_stored_or_counted() {
    for (length, load) in [(0.0, 0.5), (6.0, 0.5), (12.0, 0.9)] {
        let result = simulate_outage(&Outage { length, load, rooms: 5_000, rate: 2_000.0 }, 1);
        assert_eq!(result.stored + result.waiting, result.sends);
        assert_eq!(result.waiting, 0, "{length} s at {load}");
        // Nobody is refused in a time that is shorter than a call, and somebody is in a longer one.
        assert_eq!(result.unavailable > 0, length > 5.0, "{length} s: {}", result.unavailable);
    }
}

#[test]
fn a_longer_outage_makes_longer_waits() {
    let longest = [1.0, 2.0, 4.0, 8.0, 16.0].map(|length| {
        let outage = Outage { length, load: 0.5, rooms: 5_000, rate: 2_000.0 };
        simulate_outage(&outage, 1).waits.shares([1.0])[0]
    });
    assert!(longest.is_sorted(), "{longest:?}");
    assert!(longest[4] >= 15.5, "{longest:?}");
}

#[test]
fn each_message_during_a_restart_is_stored_once() {
    for ending in [Ending::Stays, Ending::Drained, Ending::Killed, Ending::Hangs] {
        let result = restart(ending, 600.0, 1);
        assert_eq!(result.stored + result.waiting, result.sent, "{ending:?}");
        assert_eq!(result.waiting, 0, "{ending:?}");
        assert_eq!(result.stored, result.waits.count() as u64);
        assert_eq!(result.unavailable > 0, ending == Ending::Hangs, "{ending:?}");
    }
}

#[test]
fn each_lost_event_is_read_once_or_waits() {
    for remembers in [false, true] {
        for (rate, loss) in [(5.0, 0.2), (500.0, 0.01), (5_000.0, 0.001), (50_000.0, 0.000_1)] {
            let result = repair(&Gaps { rate, loss, rooms: 10_000.0, remembers }, 20.0, 1);
            assert_eq!((result.delays.count() + result.waiting) as u64, result.lost, "{rate} {loss}");
            assert_eq!(result.waiting, 0, "{rate} {loss}");
            assert!(is_near(result.lost as f64, result.events as f64 * loss, 0.5), "{}", result.lost);
        }
        assert_eq!(repair(&Gaps { rate: 500.0, loss: 0.0, rooms: 1.0, remembers }, 20.0, 1).read, 0);
    }
}

#[test]
fn keys_are_read_as_often_as_a_gap_is_longer_than_the_wait_of_the_writer() {
    for (rate, idle) in [(0.01, 60.0), (0.05, 60.0), (0.01, 200.0)] {
        let window = 20_000.0;
        let result = cost(&KeyedRoom { rate, window, idle }, 40_000, 1);
        let loads = f64::exp(-rate * idle);
        assert!((result.loads - loads).abs() < 0.01, "{rate} {idle}: {}", result.loads);
        assert!((result.read / (loads * rate * window) - 1.0).abs() < 0.1, "{rate} {idle}: {}", result.read);
        let kept = rate * window * (1.0 - loads);
        assert!(is_near(result.kept, kept, 0.05), "{rate} {idle}: {} of {kept}", result.kept);
    }
}

#[test]
fn keys_are_kept_for_as_long_as_there_is_memory() {
    let (day, gib) = (86_400.0, 1024.0 * 1024.0 * 1024.0);
    let (mut before, all) = (0.0, memory(day, day, 1.0));
    for bytes in [2.0 * gib, 3.0 * gib, 4.0 * gib, 5.0 * gib, all, 2.0 * all] {
        let kept = kept_for(bytes, day, 1.0);
        assert!(kept > before || kept == day, "{kept} s in {bytes} bytes, {before} s in less");
        assert!(bytes >= all || is_near(memory(day, kept, 1.0), bytes, 0.001), "{bytes}");
        assert_eq!(reads(bytes, 1.0) == 0.0, bytes >= all, "{bytes}");
        before = kept;
    }
    // Twice the memory is enough for twice the users.
    let kept = [1.0, 2.0].map(|share| kept_for(2.0 * gib * share, day, share));
    assert!(is_near(kept[0], kept[1], 1e-9), "{kept:?}");
    let share = share_with(gib, 260_000.0);
    assert!(is_near(reads(gib, share), 260_000.0, 0.001), "{share}");
}

#[test]
fn signs_of_life_are_missing_as_often_as_their_loss_says() {
    // Of four signs in a row, each is lost with the probability of a fifth; one before them has arrived.
    let (loss, hours) = (0.2_f64, 2_000.0);
    let silences = silences(&Network { loss, stalls: false }, hours, 1);
    let found = silences.iter().filter(|silence| **silence > 4.5).count() as f64;
    assert!(is_near(found, hours * 3_600.0 * loss.powi(4) * (1.0 - loss), 0.05), "{found}");
}

#[test]
fn a_hot_room_delivers_each_message_and_a_pause_saves_work() {
    let room = HotRoom { members: 1_000.0, rate: 20.0, pause: 0.0, cores: 1.0 };
    let (eager, patient) = (write(&room, 60.0, 1), write(&HotRoom { pause: 1.0, ..room }, 60.0, 1));
    assert_eq!(eager.messages, patient.messages);
    assert_eq!(eager.delays.count() as u64, eager.messages);
    assert!(patient.cores < eager.cores / 5.0, "{} {}", patient.cores, eager.cores);
    // M/D/1 without batches, as far as the queue is short.
    let work = 0.0091;
    let expected = work * (1.0 + 20.0 * work / (2.0 * (1.0 - 20.0 * work)));
    assert!(is_near(eager.delays.mean(), expected, 0.1), "{}", eager.delays.mean());
}

#[test]
fn the_same_seed_makes_the_same_tables_and_another_one_others() {
    for (name, tables) in SCENARIOS.iter().filter(|(name, _)| !["storm", "restart"].contains(name)) {
        let first = tables(2);
        assert_eq!(first, tables(2), "{name}");
        assert_eq!(first == tables(3), ["figures", "traffic"].contains(name), "{name}");
    }
    let results = [2, 2, 3].map(|seed| simulate_storm(&storm(), seed));
    let requests = results.map(|result| (result.requests, result.back.mean()));
    assert_eq!(requests[0], requests[1]);
    assert_ne!(requests[0], requests[2]);
    let waits = [2, 2, 3].map(|seed| restart(Ending::Killed, 600.0, seed).waits.mean());
    assert_eq!(waits[0], waits[1]);
    assert_ne!(waits[0], waits[2]);
}
