//! Communities: groups that have groups. One of them is made with the community: its admins write there to all.

use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node};

use super::{GroupError, MAX_MEMBERS, Place, Setting};
use crate::service::{Form, Service};

/// Groups of one community: WhatsApp's limit.
const MAX_GROUPS: usize = 100;

impl Service {
    /// Makes a community, with its group for announcements.
    pub(in crate::service) fn create_community(
        &mut self,
        creator: &str,
        subject: &str,
        key: Option<&str>,
    ) -> Result<Jid, GroupError> {
        let kind = (key, Place::Community);
        let jid = self.create_group(creator, subject, &[], Form::Lid, kind)?;
        let kind = (None, Place::Announcements(jid.clone()));
        let announcements = self.create_group(creator, subject, &[], Form::Lid, kind)?;
        self.set_group(
            announcements.user.as_str(),
            creator,
            Setting::Announcement(true),
        );
        Ok(jid)
    }

    /// Takes groups into a community (`link`), or out of it; what became of each.
    pub(in crate::service) fn link_groups(
        &mut self,
        parent: &Jid,
        by: &str,
        groups: Vec<Jid>,
        link: bool,
    ) -> Result<Vec<(Jid, Option<u16>)>, GroupError> {
        let community = self.group_for(parent, by)?;
        if community.place != Place::Community {
            return Err(GroupError::NotAcceptable);
        }
        if !community.is_admin(by) {
            return Err(GroupError::Forbidden);
        }
        let mut outcome = Vec::with_capacity(groups.len());
        for jid in groups {
            let error = self.link_one(parent, by, &jid, link).err();
            outcome.push((jid, error.map(GroupError::code)));
        }
        Ok(outcome)
    }

    fn link_one(
        &mut self,
        parent: &Jid,
        by: &str,
        jid: &Jid,
        link: bool,
    ) -> Result<(), GroupError> {
        let part = Place::Part(parent.clone());
        let parts = self.groups.values().filter(|group| group.place == part);
        let full = parts.count() >= MAX_GROUPS;
        let group = self.group_for(jid, by)?;
        if !group.is_admin(by) {
            return Err(GroupError::Forbidden);
        }
        let before = if link { Place::Alone } else { part.clone() };
        if group.place != before {
            return Err(if link {
                GroupError::Conflict
            } else {
                GroupError::NotFound
            });
        }
        if link && (full || group.members.len() > MAX_MEMBERS) {
            return Err(GroupError::Full);
        }
        let id = jid.user.to_string();
        if let Some(group) = self.groups.get_mut(&id) {
            group.place = if link { part } else { Place::Alone };
        }
        self.announce_link(&id, by, parent, "parent_group", link);
        self.announce_link(parent.user.as_str(), by, jid, "sub_group", link);
        Ok(())
    }

    /// Notifies the members of a group that it is linked with another one, or is so no more.
    fn announce_link(&mut self, id: &str, by: &str, other: &Jid, kind: &'static str, link: bool) {
        let (Some(group), Some(linked)) = (self.groups.get(id), self.group(other)) else {
            return;
        };
        let everyone = group.numbers();
        let named = NodeBuilder::new("group")
            .attr("jid", other.clone())
            .attr("subject", linked.subject.as_str())
            .build();
        let action = match link {
            true => NodeBuilder::new("link").attr("link_type", kind),
            false => NodeBuilder::new("unlink")
                .attr("unlink_type", kind)
                .attr("unlink_reason", "unlink_group"),
        };
        let action: Node = action.children([named]).build();
        self.tell_members(id, by, &everyone, action);
    }
}
