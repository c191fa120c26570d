//! Calls: offered, missed, answered or declined elsewhere, rejected here by request or by a setting.

use serde_json::{Value, json};

use crate::support::{Phone, Server, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const EVE: &str = "491700000003";
const CHATS: &str = "/accounts/alice/chats";

/// The events `call` of the log, once there are so many.
fn events(world: &World, server: &Server, count: usize) -> Vec<Value> {
    eventually("events of calls", || {
        let all = world.get(server, "/events?types=call&limit=100")["events"].clone();
        let all = all.as_array()?.clone();
        assert!(all.len() <= count, "{all:?}");
        (all.len() == count).then_some(all)
    })
}

fn call(phone: &Phone<'_>, to: &str, video: bool) -> String {
    let made = phone.post("calls", &json!({"to": to, "video": video}));
    made["callId"].as_str().expect("an id").to_owned()
}

fn ends(phone: &Phone<'_>, id: &str, how: &Value) {
    phone.post(&format!("calls/{id}/end"), how);
}

/// Waits until the last call of Bob's has that status at his phone.
fn until(world: &World, status: &str) {
    let path = format!("/phones/{BOB}/calls?status={status}&wait=60");
    world.admin("GET", &path, None).expect(200);
}

#[test]
fn a_call_is_an_event_and_a_line_of_its_chat() {
    let world = World::new();
    world.walks(&["POST /accounts/:id/calls/:callId/reject"]);
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let eve = world.phone(EVE, "Eve");
    let reject = |id: &str, status: u16| {
        let path = format!("/accounts/alice/calls/{id}/reject");
        world.post(&server, &path, &json!({})).expect(status)
    };

    // It rings, and is given up.
    let first = call(&bob, ALICE, true);
    let offered = events(&world, &server, 1).remove(0);
    assert_eq!(offered["event"], "call");
    assert_eq!(offered["messageId"], first.as_str());
    assert_eq!(offered["type"], "call");
    assert_eq!(
        (&offered["chatId"], &offered["sender"]),
        (&json!(bob.jid()), &json!(bob.jid()))
    );
    assert_eq!(
        (&offered["chatName"], &offered["pushName"]),
        (&json!("Bob"), &json!("Bob"))
    );
    let asked = json!({"id": first, "status": "offered", "video": true, "group": false});
    assert_eq!(offered["call"], asked);
    ends(&bob, &first, &json!({"liar": EVE}));
    ends(&bob, &first, &json!({}));
    assert_eq!(events(&world, &server, 2)[1]["call"]["status"], "missed");
    assert_eq!(reject(&first, 404)["error"], "No such call rings");

    // The phone answers, or declines.
    let second = call(&bob, ALICE, false);
    ends(&bob, &second, &json!({"reason": "accepted_elsewhere"}));
    assert_eq!(events(&world, &server, 4)[3]["call"]["status"], "accepted");
    ends(&bob, &second, &json!({"reason": "timeout"}));
    assert_eq!(events(&world, &server, 5)[4]["call"]["status"], "ended");
    let third = call(&bob, ALICE, false);
    ends(&bob, &third, &json!({"reason": "rejected_elsewhere"}));
    assert_eq!(events(&world, &server, 7)[6]["call"]["status"], "rejected");

    // It is rejected here, and Bob's phone hears that.
    let fourth = call(&bob, ALICE, false);
    events(&world, &server, 8);
    reject(&fourth, 200);
    assert_eq!(events(&world, &server, 9)[8]["call"]["status"], "rejected");
    until(&world, "rejected");
    reject(&fourth, 404);

    // A line each, none of them unread; a text after them is read alone.
    let chat = &world.get(&server, CHATS)["chats"][0];
    assert_eq!(
        (&chat["unreadCount"], &chat["messageCount"]),
        (&json!(0), &json!(4))
    );
    assert_eq!(chat["lastMessage"]["type"], "call");
    let said = bob.say(ALICE, "why not?");
    eventually("the text", || {
        let chat = &world.get(&server, CHATS)["chats"][0];
        (chat["unreadCount"] == 1).then_some(())
    });
    call(&bob, ALICE, false);
    events(&world, &server, 10);
    let read = format!("{CHATS}/{BOB}/read");
    world.post(&server, &read, &json!({})).expect(200);
    let path = format!("/phones/{BOB}/messages?messageId={said}&receipt=read&wait=60");
    world.admin("GET", &path, None).expect(200);

    // A group's call.
    let group = world.admin(
        "POST",
        "/groups",
        Some(&json!({"subject": "All", "members": [ALICE, BOB, EVE]})),
    );
    let group = group.expect(200)["jid"].as_str().expect("a JID").to_owned();
    call(&eve, &group, true);
    let offered = events(&world, &server, 11).remove(10);
    assert_eq!(
        (&offered["chatId"], &offered["sender"]),
        (&json!(group), &json!(eve.jid()))
    );
    assert_eq!(offered["call"]["group"], true);
}

#[test]
fn calls_while_the_server_was_away_are_missed() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    server.kill();
    let first = call(&bob, ALICE, false);
    ends(&bob, &first, &json!({}));
    let second = call(&bob, ALICE, true);
    ends(&bob, &second, &json!({"reason": "accepted_elsewhere"}));
    let server = world.server();
    let events = events(&world, &server, 3);
    let status = |at: usize| events[at]["call"]["status"].as_str().expect("a word");
    assert_eq!(
        [status(0), status(1), status(2)],
        ["missed", "missed", "accepted"]
    );
    assert_eq!(events[0]["call"]["id"], first.as_str());
    assert_eq!(events[1]["call"]["video"], true);
}

#[test]
fn calls_are_rejected_by_a_setting_and_their_callers_get_one_text() {
    let world = World::new();
    let options = world
        .options()
        .with("calls.reject", true)
        .with("calls.message", "Please write: this number takes no calls.");
    let server = options.start();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    for round in 1..=3 {
        call(&bob, ALICE, false);
        until(&world, "rejected");
        let told = events(&world, &server, round * 2).pop().expect("one");
        assert_eq!(told["call"]["status"], "rejected");
        // The first call's text is stored before the next call.
        if round == 1 {
            let got = bob.received(1).remove(0);
            assert_eq!(got["text"], "Please write: this number takes no calls.");
        }
    }
    // What the account says now comes after what it said of itself.
    let body = json!({"to": BOB, "message": "hello"});
    world
        .post(&server, "/accounts/alice/message/send", &body)
        .expect(200);
    let got = bob.received(2);
    assert_eq!((got.len(), &got[1]["text"]), (2, &json!("hello")));
}
