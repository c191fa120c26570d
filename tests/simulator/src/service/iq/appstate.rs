//! `xmlns="w:sync:app:state"`: patches stored in order, versions checked, conflicts answered.
//!
//! The service cannot read a patch: it numbers it. The sender names the version that it is based on;
//! if another device was first, the answer is a conflict with the missing patches.

use std::collections::BTreeMap;

use wacore::download::MediaType;
use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;
use waproto::buffa::{Message as _, MessageField};
use waproto::codec::{syncd_patch_decode, syncd_patch_to_vec};
use waproto::whatsapp::syncd_mutation::SyncdOperation;
use waproto::whatsapp::{ExternalBlobReference, SyncdRecord, SyncdSnapshot, SyncdVersion};

use crate::directory::DeviceAddr;
use crate::phone::Action;
use crate::service::account::{Collection, MAX_PATCHES};
use crate::service::node::{self, attr, num_attr};
use crate::service::{Place, Service, node::bytes, now_ms};

/// The collections there are.
const NAMES: [&str; 5] = [
    "critical_block",
    "critical_unblock_low",
    "regular_high",
    "regular_low",
    "regular",
];
/// Patches in one answer.
const PAGE: usize = 50;

/// A device that starts from nothing gets a snapshot instead of more patches than this.
const SNAPSHOT_AFTER: u64 = 20;
/// Actions in one patch of a phone.
const PATCH_ACTIONS: usize = 500;

/// Why a collection is not synced.
struct Refused {
    code: u16,
    text: &'static str,
}

impl Service {
    /// The phone's settings, as the first version of their collection, if it has none yet.
    pub(in crate::service) fn publish_settings(&mut self, number: &str) {
        let made = self.with_phone(number, |phone, _| phone.settings_patch(now_ms()));
        let (Some((name, patch)), Some(account)) = (made, self.accounts.get_mut(number)) else {
            return;
        };
        let collection = account.app_state.entry(name.to_owned()).or_default();
        // Refused when there is a version already: then the settings are known.
        let _ = collection.append(0, Some(&patch));
    }

    /// Actions on the phone become the next version of each collection concerned, and the linked
    /// devices hear that there is one.
    pub(in crate::service) fn publish(&mut self, number: &str, actions: Vec<Action>) {
        let mut by_collection: BTreeMap<&'static str, Vec<Action>> = BTreeMap::new();
        for action in actions {
            by_collection
                .entry(action.collection)
                .or_default()
                .push(action);
        }
        for (name, actions) in by_collection {
            for actions in actions.chunks(PATCH_ACTIONS) {
                self.publish_patch(number, name, actions);
            }
        }
    }

    fn publish_patch(&mut self, number: &str, name: &'static str, actions: &[Action]) {
        let Some(base) = self.follow(number, name) else {
            return;
        };
        let patch = self.with_phone(number, |phone, _| phone.patch(name, actions));
        let collection = self
            .accounts
            .get_mut(number)
            .and_then(|account| account.app_state.get_mut(name));
        let (Some(patch), Some(collection)) = (patch, collection) else {
            return;
        };
        match collection.append(base, Some(&patch)) {
            Ok(version) => {
                self.follow(number, name);
                let phone = DeviceAddr {
                    number: number.to_owned(),
                    device: 0,
                };
                self.announce_sync(&phone, name, version);
            }
            Err(Refused { text, .. }) => log::warn!("the phone's patch of {name}: {text}"),
        }
    }

    /// The phone takes the patches of a collection that it does not know; the collection's version.
    fn follow(&mut self, number: &str, name: &str) -> Option<u64> {
        let known = self.phone(number)?.app_state_version(name);
        let account = self.accounts.get_mut(number)?;
        let collection = account.app_state.entry(name.to_owned()).or_default();
        let base = collection.version;
        let patches = collection.patches.iter();
        let missed: Vec<(u64, Vec<u8>)> = patches
            .filter(|(version, _)| *version > known)
            .cloned()
            .collect();
        self.with_phone(number, |phone, _| phone.follow(name, &missed));
        Some(base)
    }

    pub(super) fn sync_app_state(&mut self, from: &DeviceAddr, iq: &Node) -> Node {
        let asked: Vec<Node> = iq
            .get_optional_child("sync")
            .into_iter()
            .flat_map(|sync| sync.get_children_by_tag("collection"))
            .cloned()
            .collect();
        if asked.is_empty() || asked.len() > NAMES.len() {
            return node::error(iq, 400, "bad-request");
        }
        let answers: Vec<Node> = asked
            .iter()
            .map(|collection| self.sync_collection(from, collection))
            .collect();
        let sync = NodeBuilder::new("sync").children(answers).build();
        node::result(iq).children([sync]).build()
    }

    fn sync_collection(&mut self, from: &DeviceAddr, asked: &Node) -> Node {
        let name = attr(asked, "name").unwrap_or_default();
        let known = num_attr(asked, "version").unwrap_or(0);
        let builder = NodeBuilder::new("collection").attr("name", name.as_str());
        if !NAMES.contains(&name.as_str()) {
            return refused(builder, 400, "bad-request", Vec::new());
        }
        if let Some(code) = self.faults.refused_app_state(&from.number) {
            return refused(builder, code, "internal-server-error", Vec::new());
        }
        let Some(account) = self.accounts.get_mut(&from.number) else {
            return refused(builder, 400, "bad-request", Vec::new());
        };
        let collection = account.app_state.entry(name.clone()).or_default();
        if let Some(patch) = asked.get_optional_child("patch") {
            return match collection.append(known, bytes(patch)) {
                Ok(version) => {
                    self.follow(&from.number, &name);
                    self.announce_sync(from, &name, version);
                    builder
                        .attr("version", version)
                        .attr("type", "result")
                        .build()
                }
                Err(Refused { code, text }) => {
                    let (missing, more) = collection.page(known);
                    let builder = builder
                        .attr("version", collection.version)
                        .attr("has_more_patches", if more { "true" } else { "false" });
                    refused(builder, code, text, missing)
                }
            };
        }
        if known > collection.version {
            return refused(builder, 400, "bad-request", Vec::new());
        }
        let fresh = known == 0 && attr(asked, "return_snapshot").as_deref() == Some("true");
        if fresh && collection.version > SNAPSHOT_AFTER {
            let version = collection.version;
            let snapshot = collection.snapshot();
            if let Some(reference) = self.store_snapshot(&from.number, &snapshot) {
                let snapshot = NodeBuilder::new("snapshot").bytes(reference).build();
                return builder
                    .attr("version", version)
                    .attr("type", "result")
                    .children([snapshot])
                    .build();
            }
            return refused(builder, 500, "internal-server-error", Vec::new());
        }
        let (patches, more) = collection.page(known);
        let mut builder = builder
            .attr("version", collection.version)
            .attr("type", "result");
        if more {
            builder = builder.attr("has_more_patches", "true");
        }
        if patches.is_empty() {
            return builder.build();
        }
        let patches = NodeBuilder::new("patches").children(patches).build();
        builder.children([patches]).build()
    }

    /// Stores a snapshot where the account's devices download it; the serialized reference to it.
    fn store_snapshot(&mut self, number: &str, snapshot: &SyncdSnapshot) -> Option<Vec<u8>> {
        let plain = snapshot.encode_to_vec();
        let stored = self.with_phone(number, |phone, service| {
            phone.upload(
                MediaType::AppState,
                &mut plain.as_slice(),
                service,
                now_ms(),
            )
        })?;
        let file = stored
            .inspect_err(|e| log::warn!("the snapshot cannot be stored: {e}"))
            .ok()?;
        let forged = self.faults.forged_path(number, Place::AppState);
        let reference = ExternalBlobReference {
            media_key: Some(file.key().to_vec()),
            direct_path: Some(forged.unwrap_or_else(|| file.stored.direct_path.clone())),
            file_size_bytes: Some(file.stored.len),
            file_sha256: Some(file.sha256.to_vec()),
            file_enc_sha256: Some(file.stored.sha256.to_vec()),
            ..Default::default()
        };
        Some(reference.encode_to_vec())
    }

    /// The account's other devices fetch the changes.
    fn announce_sync(&mut self, from: &DeviceAddr, name: &str, version: u64) {
        let collection = NodeBuilder::new("collection")
            .attr("name", name)
            .attr("version", version)
            .build();
        let node = self
            .notification("server_sync", &from.number)
            .children([collection])
            .build();
        for device in self.linked(&from.number) {
            if device != *from {
                self.post(&device, node.clone());
            }
        }
    }
}

impl Collection {
    /// Adds a patch that builds on version `base`; the version it makes.
    fn append(&mut self, base: u64, patch: Option<&[u8]>) -> Result<u64, Refused> {
        if base != self.version {
            return Err(Refused {
                code: 409,
                text: "conflict",
            });
        }
        if self.patches.len() >= MAX_PATCHES {
            return Err(Refused {
                code: 500,
                text: "internal-server-error",
            });
        }
        let mut patch = patch
            .and_then(|b| syncd_patch_decode(b).ok())
            .ok_or(Refused {
                code: 400,
                text: "bad-request",
            })?;
        self.version += 1;
        patch.version = MessageField::some(SyncdVersion {
            version: Some(self.version),
        });
        self.patches
            .push_back((self.version, syncd_patch_to_vec(&patch)));
        Ok(self.version)
    }

    /// All that is set, as one: the records that no later patch replaced or removed. It is what the last
    /// patch led to, so that patch's MAC over the state is the snapshot's.
    fn snapshot(&self) -> SyncdSnapshot {
        let mut records: BTreeMap<Vec<u8>, SyncdRecord> = BTreeMap::new();
        let (mut mac, mut key_id) = (None, MessageField::none());
        for (_, patch) in &self.patches {
            let Ok(patch) = syncd_patch_decode(patch) else {
                continue;
            };
            for mutation in patch.mutations {
                let Some(record) = mutation.record.into_option() else {
                    continue;
                };
                let Some(index) = record.index.as_option().and_then(|it| it.blob.clone()) else {
                    continue;
                };
                if mutation
                    .operation
                    .is_none_or(|operation| operation == SyncdOperation::SET)
                {
                    records.insert(index, record);
                } else {
                    records.remove(&index);
                }
            }
            (mac, key_id) = (patch.snapshot_mac, patch.key_id);
        }
        SyncdSnapshot {
            version: MessageField::some(SyncdVersion {
                version: Some(self.version),
            }),
            records: records.into_values().collect(),
            mac,
            key_id,
        }
    }

    /// The next patches after a version, and whether there are more.
    fn page(&self, after: u64) -> (Vec<Node>, bool) {
        let mut rest = self.patches.iter().filter(|(version, _)| *version > after);
        let page: Vec<Node> = rest
            .by_ref()
            .take(PAGE)
            .map(|(_, patch)| NodeBuilder::new("patch").bytes(patch.clone()).build())
            .collect();
        let more = rest.next().is_some();
        (page, more)
    }
}

fn refused(builder: NodeBuilder, code: u16, text: &'static str, patches: Vec<Node>) -> Node {
    let mut children = vec![
        NodeBuilder::new("error")
            .attr("code", code)
            .attr("text", text)
            .build(),
    ];
    if !patches.is_empty() {
        children.push(NodeBuilder::new("patches").children(patches).build());
    }
    builder.attr("type", "error").children(children).build()
}
