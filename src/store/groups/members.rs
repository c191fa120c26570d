//! A group's members as bytes: some 16 for each, so that a large group is one small row.

/// What a member may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    #[default]
    Member,
    Admin,
    /// The admin whom no other can remove.
    Owner,
}

impl Role {
    /// The word in the API.
    pub fn name(self) -> &'static str {
        match self {
            Role::Member => "member",
            Role::Admin => "admin",
            Role::Owner => "owner",
        }
    }

    fn of(bits: u8) -> Role {
        match bits {
            1 => Role::Admin,
            2 => Role::Owner,
            _ => Role::Member,
        }
    }
}

/// A person in a group, by the digits of the LID, of the phone number, or of both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Member {
    pub lid: Option<u64>,
    pub number: Option<u64>,
    pub role: Role,
}

impl Member {
    /// The person whom these JIDs name; others than LIDs and phone numbers are left out.
    pub fn of_jids<'a>(jids: impl IntoIterator<Item = &'a str>) -> Option<Member> {
        let mut member = Member::default();
        for jid in jids {
            let Some((user, server)) = jid.split_once('@') else {
                continue;
            };
            let user = user.split(':').next().and_then(|user| user.parse().ok());
            match server {
                "lid" => member.lid = member.lid.or(user),
                "s.whatsapp.net" | "c.us" => member.number = member.number.or(user),
                _ => {}
            }
        }
        (member.lid.is_some() || member.number.is_some()).then_some(member)
    }

    pub fn lid_jid(&self) -> Option<String> {
        self.lid.map(|lid| format!("{lid}@lid"))
    }

    pub fn number_jid(&self) -> Option<String> {
        self.number.map(|number| format!("{number}@s.whatsapp.net"))
    }

    /// Whether both name the same person.
    pub fn is(&self, other: &Member) -> bool {
        (self.lid.is_some() && self.lid == other.lid)
            || (self.number.is_some() && self.number == other.number)
    }
}

const HAS_LID: u8 = 4;
const HAS_NUMBER: u8 = 8;

pub fn encode(members: &[Member]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(members.len() * 16);
    for member in members {
        let lid = if member.lid.is_some() { HAS_LID } else { 0 };
        let number = if member.number.is_some() {
            HAS_NUMBER
        } else {
            0
        };
        bytes.push(member.role as u8 | lid | number);
        for digits in [member.lid, member.number].into_iter().flatten() {
            put(&mut bytes, digits);
        }
    }
    bytes
}

/// `None` if the bytes are no members.
pub fn decode(mut bytes: &[u8]) -> Option<Vec<Member>> {
    let mut members = Vec::with_capacity(bytes.len() / 12);
    while let Some((flags, rest)) = bytes.split_first() {
        bytes = rest;
        let mut next = |bit| match flags & bit {
            0 => Some(None),
            _ => take(&mut bytes).map(Some),
        };
        members.push(Member {
            lid: next(HAS_LID)?,
            number: next(HAS_NUMBER)?,
            role: Role::of(flags & 3),
        });
    }
    Some(members)
}

/// Seven bits a byte, the lowest first.
fn put(bytes: &mut Vec<u8>, mut digits: u64) {
    while digits >= 0x80 {
        bytes.push(digits as u8 | 0x80);
        digits >>= 7;
    }
    bytes.push(digits as u8);
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut digits = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        digits |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(digits);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_the_same_after_storing_and_take_sixteen_bytes_each() {
        let members: Vec<Member> = (0..1_000)
            .map(|n| Member {
                lid: Some(200_000_000_000_000 + n),
                number: (n % 10 > 0).then_some(491_700_000_000 + n),
                role: Role::of((n % 3) as u8),
            })
            .collect();
        let bytes = encode(&members);
        assert!(bytes.len() <= 16 * members.len(), "{}", bytes.len());
        assert_eq!(decode(&bytes), Some(members));
        let extreme = [Member {
            lid: Some(u64::MAX),
            number: Some(0),
            role: Role::Owner,
        }];
        assert_eq!(decode(&encode(&extreme)).as_deref(), Some(&extreme[..]));
        assert_eq!(decode(&[4, 0x80]), None);
    }

    #[test]
    fn people_are_known_by_either_jid() {
        let both = Member::of_jids(["12:3@lid", "491@s.whatsapp.net"]).expect("a person");
        assert_eq!((both.lid, both.number), (Some(12), Some(491)));
        assert_eq!(Member::of_jids(["1@bot", "x@lid"]), None);
        let by_number = Member::of_jids(["491@c.us"]).expect("a person");
        assert!(both.is(&by_number) && by_number.is(&both));
        assert!(!Member::default().is(&Member::default()));
    }
}
