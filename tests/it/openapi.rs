//! The OpenAPI document, held against what the server answers.

use serde_json::{Value, json};

use crate::support::{Form, Receiver, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";

#[test]
fn the_document_describes_the_answers() {
    let world = World::new();
    world.walks(&["GET /openapi.json"]);
    let server = world.server();
    let answer = world.api(&server, "GET", "/openapi.json", None);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let document = answer.expect(200);
    let check = |method: &str, path: &str, template: &str, body: Option<&Value>| {
        let answer = world.api(&server, method, path, body);
        check(&document, method, template, answer.status, &answer.json());
        answer.json()
    };
    let get = |path: &str, template: &str| check("GET", path, template, None);
    let post = |path: &str, template: &str, body: &Value| check("POST", path, template, Some(body));

    get("/ping", "/ping");
    let alice = world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    get("/health", "/health");
    get("/accounts", "/accounts");
    get("/accounts/alice", "/accounts/{id}");
    get("/accounts/alice/status", "/accounts/{id}/status");
    post(
        "/accounts/alice/connect",
        "/accounts/{id}/connect",
        &json!({}),
    );

    let receiver = Receiver::start();
    let hook = json!({"url": receiver.url()});
    let hook = post("/webhooks", "/webhooks", &hook)["id"].clone();
    let id = bob.say(&alice.jid(), "hi");
    receiver.next();
    eventually("the delivery's mark", || {
        let hooks = get("/webhooks", "/webhooks");
        hooks["webhooks"][0]["lastDelivery"]
            .is_object()
            .then_some(())
    });
    let hook = hook.as_str().expect("an id");
    let test = format!("/webhooks/{hook}/test");
    post(&test, "/webhooks/{id}/test", &json!({}));

    let reply = json!({"to": BOB, "message": "hello", "quotedMessageId": id});
    let sent = post(
        "/accounts/alice/message/reply",
        "/accounts/{id}/message/reply",
        &reply,
    );
    let reaction = json!({"to": BOB, "messageId": id, "emoji": "👍"});
    post(
        "/accounts/alice/message/react",
        "/accounts/{id}/message/react",
        &reaction,
    );
    let sent = sent["messageId"].as_str().expect("an id");
    let path = format!("/accounts/alice/messages/{sent}");
    let shown = get(&path, "/accounts/{id}/messages/{messageId}");
    assert!(shown["message"]["quotedMessage"].is_object(), "{shown}");
    let many =
        json!({"to": [BOB, "@nobody.at.all"], "message": "hi", "sendAt": "2999-01-01T00:00Z"});
    post(
        "/accounts/alice/message/send",
        "/accounts/{id}/message/send",
        &many,
    );
    let many = json!({"to": [BOB], "message": "hi"});
    post(
        "/accounts/alice/message/send",
        "/accounts/{id}/message/send",
        &many,
    );
    let (kind, body) = Form::new()
        .field("to", BOB)
        .file("document", "a.txt", "text/plain", b"some text")
        .build();
    let url = format!("{}/accounts/alice/message/send/document", server.base());
    let answer = world.http().send("POST", &url, &kind, Some(body));
    let template = "/accounts/{id}/message/send/document";
    check_answer(&document, template, answer.status, &answer.json());

    let chat = format!("/accounts/alice/chats/{BOB}/messages");
    get(&chat, "/accounts/{id}/chats/{chatId}/messages");
    get("/accounts/alice/chats", "/accounts/{id}/chats");
    get("/messages", "/messages");
    get("/media", "/media");
    let read = format!("/accounts/alice/chats/{BOB}/read");
    post(&read, "/accounts/{id}/chats/{chatId}/read", &json!({}));

    // Errors.
    get("/accounts/nobody", "/accounts/{id}");
    post("/accounts", "/accounts", &json!({"id": 5}));
    let unheard = json!({"to": BOB, "message": "hi", "quotedMessageId": "3EB0NONE"});
    post(
        "/accounts/alice/message/send",
        "/accounts/{id}/message/send",
        &unheard,
    );
}

fn check_answer(document: &Value, template: &str, status: u16, answer: &Value) {
    check(document, "POST", template, status, answer);
}

/// Whether an answer is as the document says of that operation and status.
pub fn check(document: &Value, method: &str, template: &str, status: u16, answer: &Value) {
    let operation = &document["paths"][template][method.to_lowercase()];
    assert!(operation.is_object(), "{method} {template}");
    let responses = &operation["responses"];
    let response = match &responses[status.to_string()] {
        Value::Null => &responses["default"],
        described => described,
    };
    let response = resolved(document, response);
    let schema = &response["content"]["application/json"]["schema"];
    assert!(schema.is_object(), "{method} {template} {status}");
    let mut fields = answer.clone();
    if status < 300 {
        let object = fields.as_object_mut().expect("an object");
        assert_eq!(object.remove("ok"), Some(json!(true)));
        let data = object.remove("data").expect("the fields again");
        assert_eq!(data, Value::Object(object.clone()));
    }
    let whole = format!("{method} {template} {status}");
    fits(document, schema, &fields, &whole);
}

fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => document
            .pointer(reference.trim_start_matches('#'))
            .expect("what is referred to"),
        None => value,
    }
}

/// The part of JSON Schema that the answers' descriptions use; fields that it does not name are
/// mistakes, unless it says that there are more.
fn fits(document: &Value, schema: &Value, value: &Value, at: &str) {
    let schema = resolved(document, schema);
    // Of several forms the one whose fields are there.
    let has_all = |form: &&Value| {
        let mut names = form["required"].as_array().into_iter().flatten();
        names.all(|name| value.get(name.as_str().unwrap_or_default()).is_some())
    };
    let forms = schema["anyOf"].as_array().into_iter().flatten();
    let schema = forms
        .map(|form| resolved(document, form))
        .find(has_all)
        .unwrap_or(schema);
    if let Some(types) = schema.get("type") {
        let found = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(n) if n.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let allowed = match types {
            Value::Array(types) => types.iter().any(|it| it == found),
            one => one == found || one == "number" && found == "integer",
        };
        assert!(allowed, "{at} is {value}, not {types}");
    }
    if let Some(expected) = schema.get("const") {
        assert_eq!(value, expected, "{at}");
    }
    if let Some(choices) = schema["enum"].as_array() {
        assert!(choices.contains(value), "{at} is {value}");
    }
    if let Value::Array(items) = value {
        assert!(schema["items"].is_object(), "{at} is a list");
        for item in items {
            fits(document, &schema["items"], item, &format!("{at}[]"));
        }
    }
    if let Value::Object(fields) = value {
        for (name, field) in fields {
            let described = &schema["properties"][name];
            if described.is_null() && schema["additionalProperties"] == true {
                continue;
            }
            assert!(described.is_object(), "{at}: {name} is not described");
            fits(document, described, field, &format!("{at}.{name}"));
        }
        for name in schema["required"].as_array().into_iter().flatten() {
            let name = name.as_str().expect("a name");
            assert!(fields.contains_key(name), "{at} lacks {name}");
        }
    }
}
