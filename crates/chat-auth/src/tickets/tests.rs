use chat_core::User;
use tokio::time::advance;

use super::*;

fn user(id: &str) -> Identity {
    Identity::from(User::new(id, "Ann").expect("a user"))
}

fn limited(change: impl FnOnce(&mut TicketLimits)) -> Tickets {
    Tickets::new(TicketLimits::default().with(change))
}

#[tokio::test(start_paused = true)]
async fn a_ticket_is_valid_for_its_lifetime() {
    let tickets = Tickets::default();
    let issued = [(); 3].map(|()| tickets.issue(user("7")).expect("a ticket"));
    advance(Duration::from_millis(29_999)).await;
    assert!(tickets.redeem(&issued[0]).is_some());
    advance(Duration::from_millis(1)).await;
    assert!(tickets.redeem(&issued[1]).is_none());
    assert!(tickets.0.valid.lock().tickets.is_empty());
    assert!(tickets.0.valid.lock().per_user.is_empty());
}

#[test]
fn a_ticket_is_redeemed_once_by_calls_at_the_same_time() {
    let tickets = Tickets::default();
    for _ in 0..100 {
        let ticket = tickets.issue(user("7")).expect("a ticket");
        let redeemed = std::thread::scope(|scope| {
            let calls = [(); 4].map(|()| scope.spawn(|| tickets.redeem(&ticket).is_some()));
            calls.map(|call| call.join().expect("no panic")).into_iter().filter(|redeemed| *redeemed).count()
        });
        assert_eq!(redeemed, 1);
    }
}

#[test]
fn redeemed_tickets_and_refused_users_take_no_memory() {
    let tickets = Tickets::default();
    for _ in 0..200 {
        let ticket = tickets.issue(user("7")).expect("a ticket");
        assert!(tickets.redeem(&ticket).is_some());
        assert!(tickets.0.valid.lock().order.len() <= 64);
    }
    let tickets = limited(|limits| limits.max_per_user = 0);
    assert_eq!(tickets.issue(user("7")), Err(TicketError::FullForUser));
    assert!(tickets.0.valid.lock().per_user.is_empty());
    let tickets = limited(|limits| limits.lifetime = Duration::MAX);
    assert_eq!(tickets.issue(user("7")), Err(TicketError::Lifetime));
    assert!(tickets.0.valid.lock().per_user.is_empty());
}

#[test]
fn a_changed_ticket_is_refused_and_does_not_end_the_ticket() {
    let tickets = Tickets::default();
    let ticket = tickets.issue(user("7")).expect("a ticket");
    assert_eq!(ticket.len(), 64);
    for at in 0..ticket.len() {
        for other in ["A", "B", "=", "é", ""] {
            let changed = format!("{}{other}{}", &ticket[..at], &ticket[at + 1..]);
            if changed != ticket {
                assert!(tickets.redeem(&changed).is_none(), "{at} {other}");
            }
        }
    }
    for other in [&ticket[..63], &format!("{ticket}A"), &format!("{ticket}AAAA"), ""] {
        assert!(tickets.redeem(other).is_none());
    }
    assert!(tickets.redeem(&ticket).is_some());
}

#[tokio::test(start_paused = true)]
async fn the_tickets_of_one_user_and_of_all_users_are_bounded() {
    let tickets = limited(|limits| (limits.max_per_user, limits.max_tickets) = (2, 3));
    let first = tickets.issue(user("7")).expect("the first");
    tickets.issue(user("7")).expect("the second");
    assert_eq!(tickets.issue(user("7")), Err(TicketError::FullForUser));
    tickets.issue(user("8")).expect("one of another user");
    assert_eq!(tickets.issue(user("9")), Err(TicketError::Full));
    assert!(tickets.redeem(&first).is_some());
    tickets.issue(user("7")).expect("one instead of the first");
    advance(Duration::from_secs(30)).await;
    tickets.issue(user("9")).expect("the others have expired");
    assert_eq!(tickets.0.valid.lock().order.len(), 1);
}
