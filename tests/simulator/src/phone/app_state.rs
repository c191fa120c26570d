//! The account's app state, as far as the phone has something to say in it: the key, and the settings
//! that a new device finds when it first looks.

use std::collections::{BTreeMap, HashMap};

use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _};
use serde_json::{Value, json};
use wacore_appstate::hash::{HashState, generate_patch_mac};
use wacore_appstate::{ExpandedAppStateKeys, decode_record, encode_record, expand_app_state_keys};
use waproto::buffa::MessageField;
use waproto::whatsapp as wa;
use waproto::whatsapp::syncd_mutation::SyncdOperation;

use super::Phone;
use super::pairing::Adv;

/// The collection that clients wait for before they call themselves connected.
const SETTINGS: &str = "critical_block";

/// The key with which the account's app state is encrypted. WhatsApp makes a new one when a device is
/// removed; here one lasts.
pub(super) struct AppStateKey {
    /// Two bytes of the device that made it (0, the phone), four of an epoch.
    id: [u8; 6],
    data: [u8; 32],
    /// Unix milliseconds.
    timestamp: i64,
}

impl AppStateKey {
    pub(super) fn id(&self) -> &[u8] {
        &self.id
    }

    pub(super) fn generate(rng: &mut StdRng, now_ms: u64) -> Self {
        let mut id = [0; 6];
        id[2..].copy_from_slice(&rng.random_range(1..=0xffff_u32).to_be_bytes());
        let mut data = [0; 32];
        rng.fill_bytes(&mut data);
        Self {
            id,
            data,
            timestamp: i64::try_from(now_ms).unwrap_or(i64::MAX),
        }
    }

    pub(super) fn to_proto(&self, adv: &Adv) -> wa::message::AppStateSyncKey {
        wa::message::AppStateSyncKey {
            key_id: MessageField::some(wa::message::AppStateSyncKeyId {
                key_id: Some(self.id.to_vec()),
            }),
            key_data: MessageField::some(wa::message::AppStateSyncKeyData {
                key_data: Some(self.data.to_vec()),
                fingerprint: MessageField::some(wa::message::AppStateSyncKeyFingerprint {
                    raw_id: Some(adv.raw_id()),
                    current_index: Some(adv.current_index()),
                    device_indexes: adv.valid_indexes(),
                }),
                timestamp: Some(self.timestamp),
            }),
        }
    }
}

/// The collections, as far as the phone follows them: what a patch's MACs are computed over.
#[derive(Default)]
pub(super) struct Collections(BTreeMap<String, Collection>);

#[derive(Default)]
struct Collection {
    state: HashState,
    /// The MACs of the values that are set, by the MACs of their indices.
    values: HashMap<Vec<u8>, Vec<u8>>,
    /// What is set, by index.
    set: BTreeMap<Vec<String>, wa::SyncActionValue>,
}

/// What a linked device changed, for all devices.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Heard {
    /// The index: what was changed of what.
    pub index: Vec<String>,
    /// Whether it was set, as far as the phone knows the kind: a star, for instance.
    pub on: bool,
}

/// Something that the owner does and that all devices of the account learn.
#[derive(Debug, Clone)]
pub struct Action {
    /// Where it is kept.
    pub collection: &'static str,
    /// The index, as JSON.
    pub index: Vec<String>,
    /// The new value.
    pub value: wa::SyncActionValue,
    /// The version of the kind of action.
    pub version: i32,
}

impl Phone {
    /// The last version of a collection that the phone knows.
    pub fn app_state_version(&self, collection: &str) -> u64 {
        self.collections
            .0
            .get(collection)
            .map_or(0, |it| it.state.version)
    }

    /// Follows a collection: serialized patches with their versions, in order, from the first that the
    /// phone does not know. A patch whose MACs or records are wrong is not followed, and counted.
    pub fn follow(&mut self, collection: &str, patches: &[(u64, Vec<u8>)]) {
        let keys = expand_app_state_keys(&self.app_state.data);
        let known = self.collections.0.entry(collection.to_owned()).or_default();
        for (version, patch) in patches {
            let taken = waproto::codec::syncd_patch_decode(patch)
                .map_err(|error| error.to_string())
                .and_then(|patch| {
                    let heard = known.take(collection, &patch, *version, &keys)?;
                    Ok((patch.device_index, heard))
                });
            match taken {
                // Its own.
                Ok((Some(0), _)) => {}
                Ok((_, heard)) => heard.into_iter().for_each(|it| self.inbox.push_heard(it)),
                Err(error) => {
                    log::warn!("phone {}: {collection} {version}: {error}", self.number);
                    self.refused_patches += 1;
                }
            }
        }
    }

    /// What is set in the collections, by index, and how many patches of other devices were wrong.
    pub fn app_state_json(&self) -> Value {
        let set = self.collections.0.values().flat_map(|it| &it.set);
        let entries: Vec<Value> = set
            .map(|(index, value)| json!({"index": index, "value": value_json(value)}))
            .collect();
        json!({"entries": entries, "refused": self.refused_patches})
    }

    /// The serialized patch that makes the next version of a collection.
    pub fn patch(&mut self, collection: &str, actions: &[Action]) -> Vec<u8> {
        let keys = expand_app_state_keys(&self.app_state.data);
        let mutations: Vec<wa::SyncdMutation> = actions
            .iter()
            .map(|action| {
                let mut iv = [0; 16];
                self.rng.fill_bytes(&mut iv);
                let index = serde_json::to_vec(&action.index).unwrap_or_default();
                let (mutation, _) = encode_record(
                    wa::syncd_mutation::SyncdOperation::SET,
                    &index,
                    &action.value,
                    &keys,
                    &self.app_state.id,
                    &iv,
                    action.version,
                );
                mutation
            })
            .collect();
        let known = self.collections.0.entry(collection.to_owned()).or_default();
        let version = known.state.version + 1;
        let mut after = known.state.clone();
        after.version = version;
        let values = &known.values;
        // The closure never fails, and every mutation here is one that was just made.
        let _ = after.update_hash(&mutations, |index, _| Ok(values.get(index).cloned()));
        let mut patch = wa::SyncdPatch {
            mutations,
            snapshot_mac: Some(after.generate_snapshot_mac(collection, &keys.snapshot_mac)),
            key_id: MessageField::some(wa::KeyId {
                id: Some(self.app_state.id.to_vec()),
            }),
            device_index: Some(0),
            ..Default::default()
        };
        patch.patch_mac = Some(generate_patch_mac(
            &patch,
            collection,
            &keys.patch_mac,
            version,
        ));
        waproto::codec::syncd_patch_to_vec(&patch)
    }

    /// The collection in which the phone keeps its settings, and the serialized `SyncdPatch` that is the
    /// first version of it: the push name. To be stored when the account's first device is linked.
    pub fn settings_patch(&mut self, now_ms: u64) -> (&'static str, Vec<u8>) {
        let keys = expand_app_state_keys(&self.app_state.data);
        let value = wa::SyncActionValue {
            timestamp: i64::try_from(now_ms).ok(),
            push_name_setting: MessageField::some(wa::sync_action_value::PushNameSetting {
                name: Some(self.name.clone()),
            }),
            ..Default::default()
        };
        let mut iv = [0; 16];
        self.rng.fill_bytes(&mut iv);
        let (mutation, _) = encode_record(
            wa::syncd_mutation::SyncdOperation::SET,
            br#"["setting_pushName"]"#,
            &value,
            &keys,
            &self.app_state.id,
            &iv,
            1,
        );
        let mutations = vec![mutation];
        let mut state = HashState {
            version: 1,
            ..Default::default()
        };
        // Nothing came before, so there is no earlier value to look up.
        let _ = state.update_hash(&mutations, |_, _| Ok(None));
        let mut patch = wa::SyncdPatch {
            mutations,
            snapshot_mac: Some(state.generate_snapshot_mac(SETTINGS, &keys.snapshot_mac)),
            key_id: MessageField::some(wa::KeyId {
                id: Some(self.app_state.id.to_vec()),
            }),
            device_index: Some(0),
            ..Default::default()
        };
        patch.patch_mac = Some(generate_patch_mac(&patch, SETTINGS, &keys.patch_mac, 1));
        (SETTINGS, waproto::codec::syncd_patch_to_vec(&patch))
    }
}

/// The actions that tests look at.
fn value_json(value: &wa::SyncActionValue) -> Value {
    if let Some(it) = value.archive_chat_action.as_option() {
        let last = it
            .message_range
            .as_option()
            .and_then(|it| it.last_message_timestamp);
        return json!({"archived": it.archived, "lastMessage": last});
    }
    if let Some(it) = value.pin_action.as_option() {
        return json!({"pinned": it.pinned});
    }
    if let Some(it) = value.mute_action.as_option() {
        return json!({"muted": it.muted, "until": it.mute_end_timestamp});
    }
    if let Some(it) = value.mark_chat_as_read_action.as_option() {
        return json!({"read": it.read});
    }
    if let Some(it) = value.star_action.as_option() {
        return json!({"starred": it.starred});
    }
    if let Some(it) = value.contact_action.as_option() {
        let (name, first) = (&it.full_name, &it.first_name);
        return json!({"name": name, "firstName": first, "onPhone": it.save_on_primary_addressbook});
    }
    if let Some(it) = value.push_name_setting.as_option() {
        return json!({"name": it.name});
    }
    json!({})
}

impl Collection {
    fn take(
        &mut self,
        name: &str,
        patch: &wa::SyncdPatch,
        version: u64,
        keys: &ExpandedAppStateKeys,
    ) -> Result<Vec<Heard>, String> {
        let key_id = patch
            .key_id
            .as_option()
            .and_then(|it| it.id.clone())
            .unwrap_or_default();
        let mut decoded = Vec::new();
        for mutation in &patch.mutations {
            let is_set = mutation
                .operation
                .is_none_or(|it| it == SyncdOperation::SET);
            let operation = match is_set {
                true => SyncdOperation::SET,
                false => SyncdOperation::REMOVE,
            };
            let record = mutation
                .record
                .as_option()
                .ok_or("a mutation has no record")?;
            let (found, _) = decode_record(operation, record, keys, &key_id, true)
                .map_err(|error| error.to_string())?;
            decoded.push((is_set, found));
        }
        let mac = generate_patch_mac(patch, name, &keys.patch_mac, version);
        if patch.patch_mac.as_ref() != Some(&mac) {
            return Err("the patch's MAC is wrong".to_owned());
        }
        let values = &self.values;
        let mut after = self.state.clone();
        let (_, outcome) =
            after.update_hash(&patch.mutations, |index, _| Ok(values.get(index).cloned()));
        outcome.map_err(|error| error.to_string())?;
        after.version = version;
        if patch.snapshot_mac.as_ref()
            != Some(&after.generate_snapshot_mac(name, &keys.snapshot_mac))
        {
            return Err("the MAC of the state is wrong".to_owned());
        }
        self.state = after;
        let mut news = Vec::new();
        for (is_set, mutation) in decoded {
            let star = mutation.action_value.as_ref();
            let star = star.and_then(|value| value.star_action.as_option()?.starred);
            news.push(Heard {
                on: is_set && star.unwrap_or(true),
                index: mutation.index.clone(),
            });
            match mutation.action_value {
                Some(value) if is_set => {
                    self.set.insert(mutation.index, value);
                }
                _ => {
                    self.set.remove(&mutation.index);
                }
            }
        }
        for mutation in &patch.mutations {
            let record = mutation.record.as_option();
            let index = record.and_then(|it| it.index.as_option()?.blob.clone());
            let value = record.and_then(|it| it.value.as_option()?.blob.as_ref());
            let (Some(index), Some(value)) = (index, value) else {
                continue;
            };
            let set = mutation
                .operation
                .is_none_or(|op| op == wa::syncd_mutation::SyncdOperation::SET);
            match value.len().checked_sub(32) {
                Some(at) if set => {
                    self.values.insert(index, value[at..].to_vec());
                }
                _ => {
                    self.values.remove(&index);
                }
            }
        }
        Ok(news)
    }
}
