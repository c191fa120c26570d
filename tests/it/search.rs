//! Messages are found by their words.

use serde_json::{Value, json};

use crate::support::{Form, Server, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const CAROL: &str = "491700000003";

fn ids(found: &Value) -> Vec<&str> {
    let messages = found["messages"].as_array().expect("messages");
    messages
        .iter()
        .filter_map(|m| m["messageId"].as_str())
        .collect()
}

fn search(world: &World, server: &Server, query: &str) -> Value {
    world.get(server, &format!("/accounts/alice/messages?{query}"))
}

#[test]
fn messages_are_found_in_texts_captions_and_file_names() {
    let world = World::new();
    world.walks(&["GET /accounts/:id/messages"]);
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    world.pair(&server, "bob", "491700000009");
    let (bob, carol) = (world.phone(BOB, "Bob"), world.phone(CAROL, "Carol"));
    let first = bob.say(ALICE, "Die Änderung der RECHNUNG kommt morgen");
    let second = carol.say(ALICE, "rechnung? welche anderung");
    bob.say("491700000009", "eine Rechnung für Bob");
    eventually("both", || {
        let found = search(&world, &server, "q=rechnung");
        (ids(&found).len() == 2).then_some(())
    });
    let (kind, body) = Form::new()
        .field("to", BOB)
        .field("caption", "wie besprochen")
        .file(
            "document",
            "Rechnung_Mai.pdf",
            "application/pdf",
            b"%PDF-1.4 text",
        )
        .build();
    let url = format!("{}/accounts/alice/message/send/document", server.base());
    let sent = world
        .http()
        .send("POST", &url, &kind, Some(body))
        .expect(200);
    let sent = sent["messageId"].as_str().expect("an id").to_owned();

    let found = search(&world, &server, "q=Rechnung");
    assert_eq!(ids(&found)[0], sent, "{found}");
    assert_eq!(ids(&found).len(), 3);
    let found = search(&world, &server, "q=mai%20besprochen");
    assert_eq!(ids(&found), [&sent]);
    let mut both = ids(&search(&world, &server, "q=ANDERUNG+rechnung"))
        .into_iter()
        .map(str::to_owned)
        .collect::<Vec<_>>();
    both.sort();
    let mut expected = [first.clone(), second.clone()];
    expected.sort();
    assert_eq!(both, expected);
    for (query, expected) in [
        (format!("q=rechnung&chat={CAROL}"), vec![&second]),
        (format!("q=rechnung&from={BOB}"), vec![&first]),
        ("q=rechnung&type=document".to_owned(), vec![&sent]),
        (format!("chat={CAROL}"), vec![&second]),
        ("q=rechnung&before=2000-01-01T00:00Z".to_owned(), vec![]),
        ("q=morgen&after=2000-01-01T00:00Z".to_owned(), vec![&first]),
        ("q=nirgends".to_owned(), vec![]),
        ("q=rechnung&chat=491799999999".to_owned(), vec![]),
    ] {
        assert_eq!(ids(&search(&world, &server, &query)), expected, "{query}");
    }
    // Pages, as of other lists.
    let page = search(&world, &server, "q=rechnung&limit=2");
    assert_eq!(
        (ids(&page).len(), &page["pagination"]["hasMore"]),
        (2, &json!(true))
    );
    let cursor = page["pagination"]["next"].as_str().expect("a cursor");
    let rest = search(
        &world,
        &server,
        &format!("q=rechnung&limit=2&cursor={cursor}"),
    );
    assert_eq!(
        (ids(&rest).len(), &rest["pagination"]["hasMore"]),
        (1, &json!(false))
    );
    let skipped = search(&world, &server, "q=rechnung&skip=2");
    assert_eq!(ids(&skipped), ids(&rest));
    for (query, field) in [
        ("q=%21%3F", "q"),
        ("q=a&after=soon", "after"),
        ("chat=me", "chat"),
    ] {
        let path = format!("/accounts/alice/messages?{query}");
        let refused = world.api(&server, "GET", &path, None).expect(400);
        assert!(
            refused["error"]
                .as_str()
                .expect("words")
                .contains(&format!("\"{field}\"")),
            "{refused}"
        );
    }

    server.kill();
    let server = world.server();
    assert_eq!(ids(&search(&world, &server, "q=rechnung")).len(), 3);
    let nobody = "/accounts/nobody/messages?q=a";
    world.api(&server, "GET", nobody, None).expect(404);
}
