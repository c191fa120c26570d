//! What businesses send and people answer to it, invitations, trade; and what is no message.

use base64::Engine as _;
use serde_json::{Value, json};

use crate::support::{Phone, Server, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";

struct Talk<'a> {
    world: &'a World,
    server: &'a Server,
    bob: Phone<'a>,
}

impl Talk<'_> {
    /// What alice's account shows of a message of Bob's.
    fn shown(&self, mut body: Value) -> Value {
        body["to"] = ALICE.into();
        let id = self.bob.send(&body);
        eventually(&format!("the message: {body}"), || {
            let path = format!("/accounts/alice/messages/{id}");
            let answer = self.world.api(self.server, "GET", &path, None);
            (answer.status == 200).then(|| answer.json()["message"].clone())
        })
    }

    fn chat(&self) -> Value {
        self.world.get(self.server, "/accounts/alice/chats")["chats"][0].clone()
    }
}

#[test]
fn cards_of_businesses_and_answers_to_them_have_words_and_ids() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Shop");
    let (world, server) = (&world, &server);
    let talk = Talk { world, server, bob };
    for form in ["buttons", "list", "template", "interactive", "structured"] {
        let card = json!({"form": form, "title": "Menu", "text": "What do you want?", "footer": "Open till 8",
            "buttons": [{"id": "p", "text": "Pizza"}, {"id": "s", "text": "Salad"}]});
        let got = talk.shown(json!({"card": card}));
        assert_eq!(got["type"], "text", "{form}: {got}");
        assert_eq!(got["text"], "Menu\nWhat do you want?\nOpen till 8");
        let buttons = json!([{"id": "p", "text": "Pizza"}, {"id": "s", "text": "Salad"}]);
        assert_eq!(got["buttons"], buttons, "{form}");

        let id = got["messageId"].as_str().expect("an id");
        let answer = json!({"form": form, "id": "p", "text": "Pizza"});
        let got = talk.shown(json!({"answer": answer, "replyTo": id}));
        let kind = if form == "list" {
            "list_reply"
        } else {
            "button_reply"
        };
        assert_eq!(
            (&got["type"], &got["text"]),
            (&json!(kind), &json!("Pizza"))
        );
        assert_eq!(got["choice"]["id"], "p", "{form}");
        // The account answers to the card: the phone shows its words above.
        let about = json!({"to": BOB, "message": "mine", "quotedMessageId": id});
        let path = "/accounts/alice/message/reply";
        world.post(server, path, &about).expect(200);
    }
    for quoted in talk.bob.received(5) {
        assert_eq!(
            quoted["quoted"]["text"],
            "Menu\nWhat do you want?\nOpen till 8"
        );
    }
    let image = json!({"base64": base64::prelude::BASE64_STANDARD.encode([7; 500])});
    for form in ["buttons", "template", "interactive"] {
        let card = json!({"form": form, "text": "50% off", "image": image,
            "buttons": [{"text": "Open", "url": "https://shop.example/"}]});
        let got = talk.shown(json!({"card": card}));
        assert_eq!(
            (&got["type"], &got["text"]),
            (&json!("image"), &json!("50% off"))
        );
        let file = world.api(
            server,
            "GET",
            got["mediaUrl"].as_str().expect("a file"),
            None,
        );
        assert_eq!(file.bytes, [7; 500], "{form}");
    }
    let ad = json!({"sourceId": "120200000000", "sourceUrl": "https://fb.example/x", "headline": "Spring sale",
        "clickId": "click-1"});
    let got = talk.shown(json!({"text": "Hi, I saw your ad", "ad": ad}));
    let referral = &got["referral"];
    assert_eq!(got["text"], "Hi, I saw your ad");
    assert_eq!(
        (
            &referral["sourceId"],
            &referral["clickId"],
            &referral["headline"],
            &referral["entryPoint"]
        ),
        (
            &ad["sourceId"],
            &ad["clickId"],
            &ad["headline"],
            &json!("ctwa_ad")
        )
    );
}

#[test]
fn invitations_products_orders_payments_and_live_places_are_types_of_their_own() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let talk = Talk {
        world: &world,
        server: &server,
        bob,
    };
    let got = talk.shown(
        json!({"invite": {"group": "120363000000000001@g.us", "name": "Garden club",
        "code": "AbC", "expires": 1_900_000_000, "caption": "Join us"}}),
    );
    assert_eq!(
        (&got["type"], &got["text"]),
        (&json!("invite"), &json!("Join us"))
    );
    assert_eq!(
        got["invite"],
        json!({"chatId": "120363000000000001@g.us", "name": "Garden club", "code": "AbC",
            "expiresAt": 1_900_000_000_000_u64})
    );
    let image = base64::prelude::BASE64_STANDARD.encode([7; 500]);
    let got = talk.shown(
        json!({"product": {"id": "7", "title": "Red mug", "price": 12_500, "currency": "EUR",
        "text": "In stock?", "image": {"base64": image}}}),
    );
    assert_eq!(
        (&got["type"], &got["text"]),
        (&json!("product"), &json!("In stock?"))
    );
    let product = &got["product"];
    assert_eq!(
        (&product["title"], &product["price"]),
        (&json!("Red mug"), &json!(12.5))
    );
    let file = world.api(
        &server,
        "GET",
        got["mediaUrl"].as_str().expect("a picture"),
        None,
    );
    assert_eq!(file.bytes, [7; 500]);
    let got = talk.shown(
        json!({"order": {"id": "900", "count": 2, "total": 25_000, "currency": "EUR",
        "text": "Two pizzas please"}}),
    );
    assert_eq!(
        (&got["type"], &got["text"]),
        (&json!("order"), &json!("Two pizzas please"))
    );
    let order = &got["order"];
    assert_eq!(
        (&order["total"], &order["status"]),
        (&json!(25.0), &json!("inquiry"))
    );
    for state in ["request", "sent", "declined", "cancelled"] {
        let got = talk.shown(
            json!({"payment": {"state": state, "amount": 1_000, "currency": "INR", "text": "rent",
            "messageId": "3EB0A"}}),
        );
        assert_eq!(
            (&got["type"], &got["payment"]["state"]),
            (&json!("payment"), &json!(state))
        );
        let has_note = matches!(state, "request" | "sent");
        assert_eq!(
            got["text"],
            if has_note { json!("rent") } else { json!(null) }
        );
    }
    let got = talk.shown(
        json!({"liveLocation": {"latitude": 1.5, "longitude": 2.5, "caption": "on my way"}}),
    );
    let place = &got["location"];
    assert_eq!(
        (&got["type"], &place["live"]),
        (&json!("location"), &json!(true))
    );
}

#[test]
fn protobufs_of_messages_that_are_not_understood_in_full_are_kept() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let talk = Talk {
        world: &world,
        server: &server,
        bob,
    };
    let raw = |message: &Value| {
        let id = message["messageId"].as_str().expect("an id");
        let path = format!("/accounts/alice/messages/{id}?raw=true");
        world.get(&server, &path)["raw"].clone()
    };
    let unknown = talk.shown(json!({"unknown": true}));
    // conditionalRevealMessage (120), empty, and the secret of messages (messageContextInfo, 35).
    let bytes = raw(&unknown);
    let bytes = bytes.as_str().expect("base64");
    let bytes = base64::prelude::BASE64_STANDARD
        .decode(bytes)
        .expect("base64");
    assert!(
        bytes.windows(3).any(|part| part == [0xc2, 0x07, 0]),
        "{bytes:?}"
    );
    let order =
        talk.shown(json!({"order": {"id": "900", "count": 2, "total": 1, "currency": "EUR"}}));
    assert!(raw(&order).is_string());
    let text = talk.shown(json!({"text": "understood"}));
    assert!(raw(&text).is_null());
}

#[test]
fn control_messages_are_no_messages() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let talk = Talk {
        world: &world,
        server: &server,
        bob,
    };
    talk.shown(json!({"text": "the last message"}));
    let before = talk.chat();
    // Empty contents of: protocolMessage, call, reactionMessage, pollUpdateMessage, keepInChatMessage, encReactionMessage,
    // pinInChatMessage, encEventResponseMessage, secretEncryptedMessage, albumMessage, pollAddOptionMessage.
    for field in [12_u32, 10, 46, 50, 51, 56, 63, 76, 82, 83, 121] {
        let tag = (field << 3) | 2;
        let mut bytes = Vec::new();
        match tag > 0x7f {
            true => bytes.extend([tag as u8 | 0x80, (tag >> 7) as u8, 0]),
            false => bytes.extend([tag as u8, 0]),
        }
        let message = base64::prelude::BASE64_STANDARD.encode(bytes);
        talk.bob.send(&json!({"to": ALICE, "protobuf": message}));
    }
    // It comes after them.
    talk.shown(json!({"text": "the next one"}));
    let after = talk.chat();
    assert_eq!(before["unreadCount"], 1);
    assert_eq!(
        (&after["unreadCount"], &after["messageCount"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(after["lastMessage"]["text"], "the next one");
}
