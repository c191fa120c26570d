//! Groups as the admin endpoints see them.

use serde_json::{Value, json};
use wacore_binary::{Jid, JidExt as _};

use super::{Change, Group, GroupError, Place};
use crate::service::{Form, PeopleError, Service};

impl Service {
    /// A group whose creator is the first of `members`. Unknown numbers are created.
    ///
    /// # Errors
    /// A member that is neither a number nor a known JID, or a [`GroupError`].
    pub fn admin_create_group(
        &mut self,
        subject: &str,
        members: &[String],
        form: Form,
    ) -> Result<Jid, PeopleError> {
        let mut numbers = members
            .iter()
            .map(|member| self.person_named(member))
            .collect::<Result<Vec<_>, _>>()?;
        if numbers.is_empty() {
            return Err(GroupError::Malformed.into());
        }
        let creator = numbers.remove(0);
        Ok(self.create_group(&creator, subject, &numbers, form, (None, Place::Alone))?)
    }

    /// Changes a group as `by` would, or as its first admin.
    ///
    /// # Errors
    /// No such group, or what [`GroupError`] says.
    pub fn admin_change_group(
        &mut self,
        id: &str,
        by: Option<&str>,
        changes: Vec<Change>,
    ) -> Result<(), PeopleError> {
        let jid = group_jid(id).ok_or(GroupError::NotFound)?;
        let group = self.group(&jid).ok_or(GroupError::NotFound)?;
        let by = match by {
            Some(by) => self.person_named(by)?,
            None => group
                .members
                .iter()
                .max_by_key(|member| member.role)
                .map(|member| member.number.clone())
                .ok_or(GroupError::Forbidden)?,
        };
        for mut change in changes {
            if let (Change::Description { prev, .. }, Some(group)) = (&mut change, self.group(&jid))
            {
                *prev = group.description.as_ref().map(|d| d.id.clone());
            }
            let outcome = self.change_group(&jid, &by, change)?;
            let refused = outcome.into_iter().find_map(|(_, code)| code);
            match refused {
                None => {}
                Some(403) => return Err(GroupError::Forbidden.into()),
                Some(404) => return Err(GroupError::NotFound.into()),
                Some(409) => return Err(GroupError::Conflict.into()),
                Some(419) => return Err(GroupError::Full.into()),
                Some(_) => return Err(GroupError::NotAcceptable.into()),
            }
        }
        Ok(())
    }

    /// A group for `GET /admin/groups/:jid`.
    pub fn group_json(&self, id: &str) -> Option<Value> {
        let group = self.group(&group_jid(id)?)?;
        Some(self.describe_group(group))
    }

    /// All groups.
    pub fn groups_json(&self) -> Value {
        self.groups
            .values()
            .map(|group| self.describe_group(group))
            .collect()
    }

    fn describe_group(&self, group: &Group) -> Value {
        let members: Vec<Value> = group
            .members
            .iter()
            .map(|member| {
                json!({
                    "number": member.number,
                    "jid": self.user_jid(&member.number, Form::Pn).to_string(),
                    "lid": self.user_jid(&member.number, Form::Lid).to_string(),
                    "role": member.role.as_wire().unwrap_or("member"),
                })
            })
            .collect();
        json!({
            "jid": group.jid().to_string(),
            "subject": group.subject,
            "description": group.description.as_ref().map(|d| d.text.as_str()),
            "addressing": group.form.as_str(),
            "announcement": group.announcement,
            "locked": group.locked,
            "ephemeral": group.ephemeral,
            "members": members,
        })
    }

    /// The number behind a number or a JID; an unknown number is created.
    pub fn person_named(&mut self, name: &str) -> Result<String, PeopleError> {
        let digits = name.strip_prefix('+').unwrap_or(name);
        let jid: Option<Jid> = digits.parse().ok();
        if let Some(jid) = jid.filter(|_| digits.contains('@')) {
            return match self.number_of_jid(&jid) {
                Some(number) => Ok(number),
                None if Form::of(&jid) == Some(Form::Pn) => {
                    self.ensure_account(&jid.user, None)?;
                    Ok(jid.user.to_string())
                }
                None => Err(PeopleError::Unknown(name.to_owned())),
            };
        }
        self.ensure_account(digits, None)?;
        Ok(digits.to_owned())
    }
}

/// A group's JID from the text of one, or from its user part.
pub fn group_jid(text: &str) -> Option<Jid> {
    let text = text.replace("%40", "@");
    if !text.contains('@') {
        return (!text.is_empty()).then(|| Jid::group(text));
    }
    text.parse().ok().filter(|jid: &Jid| jid.is_group())
}
