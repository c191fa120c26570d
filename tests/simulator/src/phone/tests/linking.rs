//! Linked devices: pairing both ways, verified with wacore's own companion side, and what a phone
//! accepts from them.

use rand::SeedableRng as _;
use wacore::adv::{AdvValidation, decode_key_index_list, validate_adv_with_identity_key};
use wacore::messages::wrap_device_sent;
use wacore::pair::PairUtils;
use wacore::pair_code::PairCodeUtils;
use wacore_binary::{Jid, Node};
use wacore_libsignal::protocol::{KeyPair, PublicKey};
use waproto::buffa::MessageField;
use waproto::whatsapp as wa;

use super::world::{ALICE, BOB, Companion, NOW, World, addr, lid};
use crate::directory::{DeviceAddr, Directory as _};
use crate::phone::{Outgoing, PhoneError, attr, child_bytes, jid_attr};

fn text(text: &str) -> wa::Message {
    wa::Message {
        conversation: Some(text.to_owned()),
        ..Default::default()
    }
}

/// Alice's companion sends to a phone; what the phone answers comes back.
fn say(world: &mut World, to: &str, id: &str, message: &wa::Message) -> Vec<Node> {
    let bundle = world.take_bundle(&addr(to, 0)).expect("a bundle");
    let companion = world.companions.get_mut(&addr(ALICE, 1)).expect("linked");
    let from = Jid::pn_device(ALICE, 1);
    let stanza = companion.say(from, &addr(to, 0), &bundle, id, message);
    world.with(to, |phone, world| phone.receive(&stanza, world, NOW))
}

fn error_of(stanza: &Node) -> Option<String> {
    attr(stanza.get_optional_child("retry")?, "error")
}

#[test]
fn the_list_of_linked_devices_is_signed_and_current() {
    let mut world = World::new();
    assert!(world.phone(ALICE).key_index_list().is_none());
    world.link(ALICE, 1, 1);
    world.link(ALICE, 2, 2);
    let list = world.phone(ALICE).key_index_list().expect("a list");
    let decoded = decode_key_index_list(&list).expect("a good list");
    assert_eq!(
        (decoded.current_index, decoded.valid_indexes),
        (2, vec![0, 1, 2])
    );

    let signed = waproto::codec::adv_signed_key_index_list_decode(&list).expect("decodes");
    let details = signed.details.expect("details");
    let key = PublicKey::from_djb_public_key_bytes(&world.phone(ALICE).identity()).expect("a key");
    let signature = signed.account_signature.expect("a signature");
    assert!(key.verify_signature(&[&[6, 2][..], &details].concat(), &signature));

    let before = world.phone(ALICE).key_index_timestamp();
    world.unlink(ALICE, 1);
    let list = world.phone(ALICE).key_index_list().expect("a list");
    let decoded = decode_key_index_list(&list).expect("a good list");
    assert_eq!(
        (decoded.current_index, decoded.valid_indexes),
        (2, vec![0, 2])
    );
    assert!(decoded.timestamp > before);
}

#[test]
fn an_identity_binds_one_device_to_one_account() {
    let mut world = World::new();
    world.link(ALICE, 1, 1);
    let companion = &world.companions[&addr(ALICE, 1)];
    let own = companion.keys.identity_bytes();
    let check = |key| validate_adv_with_identity_key(&companion.identity, key, None);
    assert_eq!(check(&own), AdvValidation::Valid);
    assert_eq!(check(&world.phone(BOB).identity()), AdvValidation::Invalid);
}

#[test]
fn qr_codes_come_in_three_shapes() {
    let mut world = World::new();
    let state = Companion::new(1).state;
    let chrome = wacore::companion_reg::CompanionWebClientType::Chrome;
    let five = PairUtils::make_qr_data(&state, "2@r", chrome);
    let four = five.rsplit_once(',').expect("five fields").0.to_owned();
    let url = format!("https://wa.me/settings/linked_devices#{five}");
    world.with(ALICE, |alice, _| {
        for (device, qr) in (1..).zip([&five, &four, &url]) {
            let scan = alice.scan_qr(qr, device, NOW).expect("a code");
            assert_eq!(scan.key_index, u32::from(device));
        }
        for bad in ["", "2@r", "2@r,a,b,c", ",,,", "https://example.com/"] {
            assert!(
                matches!(alice.scan_qr(bad, 9, NOW), Err(PhoneError::BadQr(_))),
                "{bad}"
            );
        }
    });
}

#[test]
fn a_countersignature_by_another_key_is_refused() {
    let mut world = World::new();
    let companion = Companion::new(1);
    let stranger = Companion::new(2);
    let chrome = wacore::companion_reg::CompanionWebClientType::Chrome;
    let qr = PairUtils::make_qr_data(&companion.state, "2@r", chrome);
    world.with(ALICE, |alice, _| {
        let scan = alice.scan_qr(&qr, 1, NOW).expect("a code");
        let identity = &scan.pair_success_identity;
        let (good, _) = PairUtils::do_pair_crypto(&companion.state, identity).expect("verifies");
        let mut forged = waproto::codec::adv_signed_device_identity_decode(&good).expect("decodes");
        let signature = stranger
            .state
            .identity_key
            .calculate_signature(b"anything", &mut rand::rngs::StdRng::from_seed([1; 32]))
            .expect("signs");
        forged.device_signature = Some(signature.to_vec());
        let forged = waproto::codec::adv_signed_device_identity_to_vec(&forged);
        assert!(matches!(
            alice.accept_signed(1, &forged),
            Err(PhoneError::BadDeviceIdentity(1, _))
        ));
        assert!(
            alice.accept_signed(2, &good).is_err(),
            "nobody links device 2"
        );
        // Baileys leaves the account's key out.
        let mut bare = waproto::codec::adv_signed_device_identity_decode(&good).expect("decodes");
        bare.account_signature_key = None;
        let bare = waproto::codec::adv_signed_device_identity_to_vec(&bare);
        let full = alice.accept_signed(1, &bare).expect("countersigned");
        let full = waproto::codec::adv_signed_device_identity_decode(&full).expect("decodes");
        assert_eq!(
            full.account_signature_key.as_deref(),
            Some(&alice.identity()[..])
        );
    });
}

/// Both halves of linking by code; `typed` is what the person enters.
fn by_code(world: &mut World, shown: &str, typed: &str) -> Result<(), PhoneError> {
    let companion = Companion::new(1);
    let ephemeral = KeyPair::generate(&mut rand::rngs::StdRng::from_seed([3; 32]));
    let wrapped = PairCodeUtils::encrypt_ephemeral_pub(
        ephemeral
            .public_key
            .public_key_bytes()
            .try_into()
            .expect("32"),
        shown,
    );
    let noise_key = companion.state.noise_key.public_key;
    let noise = noise_key.public_key_bytes();
    let hello = PairCodeUtils::build_companion_hello_iq(
        ALICE,
        noise.try_into().expect("32"),
        &wrapped,
        "1",
        "Chrome (Linux)",
        true,
        "1".to_owned(),
    );
    let hello = hello
        .get_optional_child("link_code_companion_reg")
        .expect("hello");
    world.with(ALICE, |alice, _| {
        let reply = alice.enter_code(hello, b"ref", typed)?;
        assert_eq!(attr(&reply, "stage").as_deref(), Some("primary_hello"));
        let primary = PairCodeUtils::decrypt_primary_ephemeral_pub(
            child_bytes(&reply, "link_code_pairing_wrapped_primary_ephemeral_pub").expect("key"),
            shown,
        )
        .expect("80 bytes");
        let (bundle, secret) = PairCodeUtils::prepare_key_bundle(
            &ephemeral,
            &primary,
            child_bytes(&reply, "primary_identity_pub")
                .expect("id")
                .try_into()
                .expect("32"),
            &companion.state.identity_key,
        )
        .expect("a bundle");
        let identity = companion.keys.identity_bytes();
        let finish = PairCodeUtils::build_companion_finish_iq(
            ALICE,
            bundle,
            &identity,
            b"ref",
            "2".to_owned(),
        );
        let finish = finish
            .get_optional_child("link_code_companion_reg")
            .expect("finish");
        let scan = alice.finish_code(finish, 1, NOW)?;
        assert_eq!((scan.identity, &scan.noise_key[..]), (identity, noise));
        let mut state = companion.state;
        state.adv_secret_key = secret;
        let (signed, _) = PairUtils::do_pair_crypto(&state, &scan.pair_success_identity)
            .expect("the companion verifies it");
        alice.accept_signed(1, &signed)?;
        Ok(())
    })
}

#[test]
fn a_phone_code_links_a_device() {
    by_code(&mut World::new(), "ABCD1234", "abcd-1234").expect("the same code");
    let wrong = by_code(&mut World::new(), "ABCD1234", "ABCD1235");
    assert!(matches!(wrong, Err(PhoneError::WrongCode)), "{wrong:?}");
    let short = by_code(&mut World::new(), "ABCD1234", "ABC");
    assert!(matches!(short, Err(PhoneError::WrongCode)), "{short:?}");
}

#[test]
fn messages_reach_every_device_and_the_own_ones_get_a_copy() {
    let mut world = World::new();
    world.link(ALICE, 1, 1);
    world.link(BOB, 3, 2);
    let to = format!("{}@lid", lid(BOB));
    let (id, stanzas) = world.with(ALICE, |alice, world| {
        alice
            .send(Outgoing::text(&to, "hi"), world, NOW)
            .expect("sent")
    });
    let participants = stanzas[0]
        .get_optional_child("participants")
        .expect("fan-out");
    let jids: Vec<Jid> = participants
        .get_children_by_tag("to")
        .map(|to| jid_attr(to, "jid").expect("jid"))
        .collect();
    let expected = [
        Jid::lid_device(lid(BOB), 0),
        Jid::lid_device(lid(BOB), 3),
        Jid::lid_device(lid(ALICE), 1),
    ];
    assert_eq!(jids, expected);
    let phash = wacore::messages::MessageUtils::participant_list_hash(&jids).expect("a hash");
    assert_eq!(attr(&stanzas[0], "phash"), Some(phash));

    world.route(&addr(ALICE, 0), stanzas);
    let left = world.settle();
    let alice = addr(ALICE, 0);
    let mut open = |who: &DeviceAddr| {
        let (_, stanza) = left.iter().find(|(to, _)| to == who).expect("a copy");
        world
            .companions
            .get_mut(who)
            .expect("linked")
            .open(&alice, stanza)
    };
    let bobs = open(&addr(BOB, 3));
    assert_eq!(bobs.conversation.as_deref(), Some("hi"));
    let info = bobs.message_context_info.as_option().expect("context");
    assert_eq!(info.message_secret.as_ref().map(Vec::len), Some(32));
    assert!(info.device_list_metadata.is_set());
    let copy = open(&addr(ALICE, 1));
    let copy = copy.device_sent_message.as_option().expect("a copy");
    assert_eq!(copy.destination_jid, Some(to));
    let inner = copy.message.as_option().expect("content");
    assert_eq!(inner.conversation.as_deref(), Some("hi"));
    assert_eq!(
        world.phone(BOB).inbox().find(&id).map(|m| m.kind),
        Some("text")
    );
}

#[test]
fn a_linked_device_proves_its_account() {
    let mut world = World::new();
    world.link(ALICE, 1, 1);
    let proof = std::mem::take(
        &mut world
            .companions
            .get_mut(&addr(ALICE, 1))
            .expect("linked")
            .identity,
    );
    let out = say(&mut world, BOB, "X1", &text("who?"));
    // AdvFailure.
    assert_eq!(error_of(&out[0]).as_deref(), Some("12"));
    assert!(world.phone(BOB).inbox().find("X1").is_none());

    world
        .companions
        .get_mut(&addr(ALICE, 1))
        .expect("linked")
        .identity = proof;
    let out = say(&mut world, BOB, "X2", &text("me"));
    assert_eq!(attr(&out[0], "type"), None);
    assert_eq!(
        attr(&out[0], "to").as_deref(),
        Some(format!("{ALICE}:1@s.whatsapp.net").as_str())
    );
    let got = world.phone(BOB).inbox().find("X2").expect("read").clone();
    assert_eq!(got.from, format!("{ALICE}:1@s.whatsapp.net"));
    assert_eq!(got.chat, format!("{ALICE}@s.whatsapp.net"));
}

#[test]
fn an_identity_of_another_account_is_refused() {
    let mut world = World::new();
    // Bob knows Alice's phone, and then her name is claimed by a device that Mallory's phone signed.
    let (_, stanzas) = world.with(BOB, |bob, world| {
        bob.send(Outgoing::text(ALICE, "hi"), world, NOW)
            .expect("sent")
    });
    world.route(&addr(BOB, 0), stanzas);
    world.settle();
    world.link(BOB, 1, 9);
    let forged = world.companions.remove(&addr(BOB, 1)).expect("linked");
    world.companions.insert(addr(ALICE, 1), forged);
    let out = say(&mut world, BOB, "X1", &text("trust me"));
    assert_eq!(error_of(&out[0]).as_deref(), Some("12"));
}

#[test]
fn only_own_devices_put_words_into_the_owners_mouth() {
    let mut world = World::new();
    world.link(ALICE, 1, 1);
    let copy = wrap_device_sent(text("from the desk"), format!("{BOB}@s.whatsapp.net"));
    let out = say(&mut world, ALICE, "X1", &copy);
    assert_eq!(attr(&out[0], "type").as_deref(), Some("sender"));
    assert_eq!(
        attr(&out[0], "recipient"),
        Some(format!("{BOB}@s.whatsapp.net"))
    );
    let got = world.phone(ALICE).inbox().find("X1").expect("read").clone();
    assert!(got.from_me);
    assert_eq!(got.chat, format!("{BOB}@s.whatsapp.net"));

    let out = say(&mut world, BOB, "X2", &copy);
    assert_eq!(
        (out[0].tag.as_ref(), attr(&out[0], "error").as_deref()),
        ("ack", Some("500"))
    );
    assert!(world.phone(BOB).inbox().find("X2").is_none());
}

#[test]
fn a_device_that_was_unlinked_is_a_stranger() {
    let mut world = World::new();
    world.link(ALICE, 1, 1);
    let copy = wrap_device_sent(text("a"), format!("{BOB}@s.whatsapp.net"));
    say(&mut world, ALICE, "X1", &copy);
    world.unlink(ALICE, 1);
    let out = say(&mut world, ALICE, "X2", &copy);
    assert_eq!(attr(&out[0], "type").as_deref(), Some("retry"));
    assert!(world.phone(ALICE).inbox().find("X2").is_none());
}

#[test]
fn a_new_device_gets_keys_and_an_empty_history_and_may_ask_for_keys() {
    let mut world = World::new();
    world.link(ALICE, 1, 1);
    let device = addr(ALICE, 1);
    let mut go = |first| world.with(ALICE, |alice, dir| alice.device_online(1, first, dir, NOW));
    assert!(go(false).is_empty());
    let stanzas = go(true);
    assert_eq!(stanzas.len(), 3);
    let companion = world.companions.get_mut(&device).expect("linked");
    let opened: Vec<wa::Message> = stanzas
        .iter()
        .map(|stanza| {
            assert_eq!(attr(stanza, "category").as_deref(), Some("peer"));
            companion.open(&addr(ALICE, 0), stanza)
        })
        .collect();
    let protocol = |i: usize| opened[i].protocol_message.as_option().expect("protocol");
    let share = protocol(0)
        .app_state_sync_key_share
        .as_option()
        .expect("keys");
    let key_id = share.keys[0].key_id.clone();
    assert!(share.keys[0].key_data.is_set());
    let data = share.keys[0].key_data.key_data.as_deref().expect("a key");
    settings_can_be_read(&mut world, data);
    for i in [1, 2] {
        let note = protocol(i)
            .history_sync_notification
            .as_option()
            .expect("history");
        let packed = note
            .initial_hist_bootstrap_inline_payload
            .as_deref()
            .expect("inline");
        let plain =
            wacore_binary::zlib_pool::decompress_zlib_pooled(packed, 1 << 20).expect("zlib");
        let history = waproto::codec::history_sync_decode(&plain).expect("history");
        assert!(history.conversations.is_empty());
    }

    let unknown = wa::message::AppStateSyncKeyId {
        key_id: Some(vec![0, 0, 9, 9, 9, 9]),
    };
    let request = wa::Message {
        protocol_message: MessageField::some(wa::message::ProtocolMessage {
            r#type: Some(wa::message::protocol_message::Type::APP_STATE_SYNC_KEY_REQUEST),
            app_state_sync_key_request: MessageField::some(wa::message::AppStateSyncKeyRequest {
                key_ids: vec![key_id.as_option().expect("an id").clone(), unknown],
            }),
            ..Default::default()
        }),
        ..Default::default()
    };
    let out = say(&mut world, ALICE, "X1", &request);
    let answer = out
        .iter()
        .find(|node| node.tag == "message")
        .expect("an answer");
    let companion = world.companions.get_mut(&device).expect("linked");
    let answer = companion.open(&addr(ALICE, 0), answer);
    let answer = answer.protocol_message.as_option().expect("protocol");
    let keys = &answer
        .app_state_sync_key_share
        .as_option()
        .expect("keys")
        .keys;
    let has_data: Vec<bool> = keys.iter().map(|key| key.key_data.is_set()).collect();
    assert_eq!(has_data, [true, false]);
}

/// What the phone says about itself in the app state, read with the key that it shared.
fn settings_can_be_read(world: &mut World, key: &[u8]) {
    let (collection, patch) = world.with(ALICE, |alice, _| alice.settings_patch(NOW));
    let mut patch = waproto::codec::syncd_patch_decode(&patch).expect("a patch");
    patch.version = MessageField::some(wa::SyncdVersion { version: Some(1) });
    let keys = std::sync::Arc::new(wacore_appstate::expand_app_state_keys(key));
    let mut state = wacore_appstate::hash::HashState::default();
    let read = wacore_appstate::process_patch(
        &patch,
        &mut state,
        |_| Ok(keys.clone()),
        |_| Ok(None),
        true,
        collection,
    )
    .expect("the MACs are right");
    let value = read.mutations[0].action_value.as_ref().expect("a value");
    assert_eq!(value.push_name_setting.name.as_deref(), Some("alice"));
    let snapshot = state.generate_snapshot_mac(collection, &keys.snapshot_mac);
    assert_eq!(patch.snapshot_mac, Some(snapshot));
}
