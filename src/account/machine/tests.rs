//! Reconnecting, pairing and stopping, input by input.

use super::*;

fn fresh() -> Machine {
    Machine::new(false, Stopped::NotStarted, 0)
}

pub(super) fn connected() -> Machine {
    let mut m = Machine::new(true, Stopped::NotStarted, 0);
    assert_eq!(
        m.on(Input::Connect, 1, 0.0),
        vec![Action::Want(true), Action::Run]
    );
    m.on(Input::LoggedIn, 2, 0.0);
    assert_eq!(m.status(), Status::Connected);
    m
}

#[test]
fn pairing_shows_codes_restarts_at_once_and_connects() {
    let mut m = fresh();
    assert_eq!(m.status(), Status::NotStarted);
    m.on(Input::Connect, 10, 0.0);
    assert_eq!((m.status(), m.since()), (Status::Connecting, 10));
    assert_eq!(
        m.on(Input::Qr("a".into()), 11, 0.0),
        vec![Action::ShowQr("a".into())]
    );
    assert_eq!(m.qr(), Some("a"));
    m.on(Input::Qr("b".into()), 12, 0.0);
    assert_eq!(m.qr(), Some("b"));
    m.on(Input::Paired, 13, 0.0);
    assert_eq!(m.qr(), None, "a scanned code is no longer shown");
    // Stream error 515 ends the session: it runs again without a pause.
    assert_eq!(m.on(Input::Ended(None), 14, 0.0), vec![Action::Run]);
    assert_eq!(m.status(), Status::Connecting);
    m.on(Input::LoggedIn, 15, 0.0);
    assert_eq!((m.status(), m.since()), (Status::Connected, 15));
    assert_eq!(m.last_error(), None);
}

#[test]
fn a_login_without_its_settings_is_one_and_says_what_is_missing() {
    let mut m = Machine::new(true, Stopped::NotStarted, 0);
    m.on(Input::Usable("not now"), 1, 0.0);
    assert_eq!((m.status(), m.last_error()), (Status::NotStarted, None));
    m.on(Input::Connect, 2, 0.0);
    m.on(Input::Usable("contacts are missing"), 3, 0.0);
    assert_eq!((m.status(), m.since()), (Status::Connected, 3));
    assert_eq!(m.last_error().as_deref(), Some("contacts are missing"));
    // They come.
    m.on(Input::LoggedIn, 4, 0.0);
    assert_eq!((m.since(), m.last_error()), (3, None));
}

#[test]
fn a_lost_connection_comes_back_with_growing_pauses() {
    let mut m = connected();
    let mut pauses = Vec::new();
    let mut now = 1_000;
    for _ in 0..12 {
        let actions = m.on(Input::Ended(Some("reset".into())), now, 0.0);
        let [Action::Wake(until)] = actions[..] else {
            panic!("{actions:?}");
        };
        assert_eq!(m.status(), Status::Reconnecting);
        assert_eq!(m.last_error().as_deref(), Some("reset"));
        pauses.push(until - now);
        assert_eq!(
            m.on(Input::Due, until - 1, 0.0),
            vec![Action::Wake(until)],
            "not before its time"
        );
        assert_eq!(m.on(Input::Due, until, 0.0), vec![Action::Run]);
        now = until + 1;
    }
    assert_eq!(
        pauses[..9],
        [
            1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000
        ]
    );
    assert!(pauses[9..].iter().all(|p| *p == LONGEST_PAUSE));
    // A login clears the words; only a connection that lasts resets the pauses.
    m.on(Input::LoggedIn, now, 0.0);
    assert_eq!(m.last_error(), None);
    let soon = now + STABLE - 1;
    assert_eq!(
        m.on(Input::Ended(None), soon, 0.0),
        vec![Action::Wake(soon + LONGEST_PAUSE)]
    );
    now = soon + LONGEST_PAUSE;
    m.on(Input::Due, now, 0.0);
    m.on(Input::LoggedIn, now, 0.0);
    now += STABLE;
    assert_eq!(
        m.on(Input::Ended(None), now, 0.0),
        vec![Action::Wake(now + FIRST_PAUSE)]
    );
}

#[test]
fn since_holds_while_the_status_does() {
    let mut m = connected();
    m.on(Input::Ended(None), 100, 0.0);
    m.on(Input::Due, 1_100, 0.0);
    m.on(Input::Ended(None), 1_200, 0.0);
    assert_eq!((m.status(), m.since()), (Status::Reconnecting, 100));
}

#[test]
fn jitter_adds_at_most_half_and_the_bounds_hold() {
    for failures in 0..40 {
        for random in [0.0, 0.3, 0.999, 1.0] {
            let p = pause(failures, random);
            assert!((FIRST_PAUSE..=LONGEST_PAUSE).contains(&p), "{failures} {p}");
        }
        let spread = pause(failures, 1.0) > pause(failures, 0.0);
        assert!(spread || pause(failures, 0.0) == LONGEST_PAUSE);
        assert!(pause(failures, 1.0) * 2 <= pause(failures, 0.0) * 3);
    }
}

#[test]
fn disconnect_keeps_the_pairing_and_stays() {
    let mut m = connected();
    assert_eq!(
        m.on(Input::Disconnect, 5, 0.0),
        vec![Action::Want(false), Action::Close]
    );
    assert_eq!(m.status(), Status::Disconnected);
    assert_eq!(m.on(Input::Ended(None), 6, 0.0), vec![]);
    assert_eq!((m.status(), m.since()), (Status::Disconnected, 5));
    assert_eq!(m.on(Input::Due, 7, 0.0), vec![]);
    assert_eq!(
        m.on(Input::Connect, 8, 0.0),
        vec![Action::Want(true), Action::Run],
        "no keys are forgotten"
    );
}

#[test]
fn disconnect_during_a_pause_cancels_it() {
    let mut m = connected();
    m.on(Input::Ended(None), 10, 0.0);
    assert_eq!(m.on(Input::Disconnect, 11, 0.0), vec![Action::Want(false)]);
    assert_eq!(m.on(Input::Due, 100_000, 0.0), vec![]);
    assert_eq!(m.status(), Status::Disconnected);
}

#[test]
fn connect_while_closing_runs_again_after_the_end() {
    let mut m = connected();
    m.on(Input::Disconnect, 5, 0.0);
    assert_eq!(m.on(Input::Connect, 6, 0.0), vec![Action::Want(true)]);
    assert_eq!(m.on(Input::Ended(None), 7, 0.0), vec![Action::Run]);
    // And a disconnect on top of that stops it after all.
    let mut m = connected();
    m.on(Input::Disconnect, 5, 0.0);
    m.on(Input::Connect, 6, 0.0);
    m.on(Input::Disconnect, 7, 0.0);
    assert_eq!(m.on(Input::Ended(None), 8, 0.0), vec![]);
    assert_eq!(m.status(), Status::Disconnected);
}

#[test]
fn an_unlink_is_final_until_connect_pairs_anew() {
    let mut m = connected();
    m.on(Input::LoggedOut("unlinked".into()), 5, 0.0);
    m.on(Input::Replaced, 5, 0.0);
    assert_eq!(
        m.on(Input::Ended(None), 6, 0.0),
        vec![Action::Ended(Ending::PairingOver("unlinked".into()))]
    );
    assert_eq!(m.status(), Status::LoggedOut);
    assert_eq!(m.last_error().as_deref(), Some("unlinked"));
    assert_eq!(m.on(Input::Due, 1 << 40, 0.0), vec![]);
    m.on(Input::Disconnect, 7, 0.0);
    assert_eq!(m.status(), Status::LoggedOut, "and not merely disconnected");
    assert_eq!(
        m.on(Input::Connect, 8, 0.0),
        vec![Action::Want(true), Action::Forget, Action::Run]
    );
    assert_eq!(m.status(), Status::Connecting);
    assert!(!m.paired());
}

#[test]
fn an_unlink_while_closing_is_still_an_unlink() {
    let mut m = connected();
    m.on(Input::Disconnect, 5, 0.0);
    m.on(Input::LoggedOut("unlinked".into()), 6, 0.0);
    m.on(Input::Ended(None), 7, 0.0);
    assert_eq!(m.status(), Status::LoggedOut);
}

#[test]
fn being_replaced_waits_longer() {
    let mut m = connected();
    m.on(Input::Replaced, 5, 0.0);
    assert_eq!(
        m.on(Input::Ended(None), 6, 0.0),
        vec![Action::Wake(6 + REPLACED_PAUSE)]
    );
    assert_eq!(m.status(), Status::Reconnecting);
}

#[test]
fn codes_that_expire_unscanned_are_renewed_a_few_times() {
    let mut m = fresh();
    m.on(Input::Connect, 1, 0.0);
    for _ in 1..QR_SETS {
        m.on(Input::Qr("x".into()), 2, 0.0);
        m.on(Input::QrExhausted, 3, 0.0);
        assert_eq!(m.on(Input::Ended(None), 4, 0.0), vec![Action::Run]);
        assert_eq!(m.qr(), None);
    }
    m.on(Input::QrExhausted, 5, 0.0);
    assert_eq!(
        m.on(Input::Ended(None), 6, 0.0),
        vec![Action::Want(false)],
        "a restart does not begin again"
    );
    assert_eq!(m.status(), Status::NotStarted);
    assert!(m.last_error().is_some_and(|e| e.contains("not scanned")));
    assert_eq!(
        m.on(Input::Connect, 7, 0.0),
        vec![Action::Want(true), Action::Run]
    );
    assert_eq!(m.last_error(), None);
}

#[test]
fn an_unpaired_account_without_network_keeps_trying() {
    let mut m = fresh();
    m.on(Input::Connect, 1, 0.0);
    let out_of_reach = || Input::Ended(Some("no route to host".into()));
    assert_eq!(
        m.on(out_of_reach(), 2, 0.0),
        vec![
            Action::Wake(2 + FIRST_PAUSE),
            Action::Warn("no route to host".into())
        ]
    );
    assert_eq!(m.status(), Status::Connecting);
    assert_eq!(m.last_error().as_deref(), Some("no route to host"));
    assert_eq!(m.cut_off_since(), Some(2));
    let mut now = 2 + FIRST_PAUSE;
    for failures in 1..20 {
        assert_eq!(m.on(Input::Due, now, 0.0), vec![Action::Run]);
        let next = now + 1 + pause(failures + 1, 0.0);
        assert_eq!(
            m.on(out_of_reach(), now + 1, 0.0),
            vec![Action::Wake(next)],
            "it was logged before"
        );
        assert_eq!(m.cut_off_since(), Some(2));
        now = next;
    }

    // A code: WhatsApp is there, and what was wrong is over.
    m.on(Input::Due, now, 0.0);
    m.on(Input::Qr("a".into()), now + 1, 0.0);
    assert_eq!((m.last_error(), m.cut_off_since()), (None, None));
    m.on(Input::QrExhausted, now + 2, 0.0);
    m.on(Input::Ended(None), now + 3, 0.0);
    assert_eq!((m.last_error(), m.cut_off_since()), (None, None));
    // Lost again: logged again.
    let told = m.on(out_of_reach(), now + 4, 0.0);
    assert!(
        matches!(told[..], [Action::Wake(_), Action::Warn(_)]),
        "{told:?}"
    );
    assert_eq!(m.cut_off_since(), Some(now + 4));
}

#[test]
fn a_paired_account_that_loses_whatsapp_says_so_by_its_status() {
    let mut m = connected();
    assert_eq!(
        m.on(Input::Ended(None), 5, 0.0),
        vec![Action::Wake(5 + FIRST_PAUSE)]
    );
    assert_eq!(m.cut_off_since(), None);
}
