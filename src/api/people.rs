//! People: the address book, what they show, who is blocked, and their LIDs.

use futures_lite::future::yield_now;
#[cfg(test)]
use schemars::json_schema;
use serde::Serialize;

use super::answer::{Answer, Done, Json, Reply};
use super::chats::read_account;
use super::context::Req;
use super::error::ApiError;
use super::page::{Pagination, Paging};
use super::recipients::{known, reached};
use super::values::OfAccount;
use crate::account::AccountError;
use crate::clock;
use crate::fields::{Addressee, FieldError, Limited, request};
use crate::jid::ChatJid;
use crate::store::groups::CommonGroup;
use crate::store::messages::{self, Contact, ContactFilter, Room};
use crate::whatsapp::{Business, Facts, Picture};

/// How many people a list has without a limit, and at most.
const USUAL: usize = 50;
const MOST: usize = 500;
/// How many chats are looked at in one go on the event thread.
const LOOKS: usize = 200;

request! {
    /// What a list of people is limited to.
    pub struct Filter {
        /// part of a name, username or number
        words: Option<String> = query "q",
        /// only people in the address book, or with `false` only others
        saved: Option<bool> = query "saved",
    }
}

/// In the order in which they became known
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ContactList {
    contacts: Vec<Contact>,
    pagination: Pagination,
}

/// All are looked through, for the total, with turns for others between.
pub async fn list(
    req: Req,
    (of, filter, paging): (OfAccount, Filter, Paging<u64>),
) -> Result<Json<ContactList>, ApiError> {
    let (page, part) = paging.of(req.state().config.envelope, USUAL, MOST);
    let filter = ContactFilter {
        words: filter.words.map(|words| words.to_lowercase()),
        saved: filter.saved,
    };
    let behind = part.behind.unwrap_or(0);
    let (mut contacts, mut room) = (Vec::new(), Room::new(part.limit, part.bytes));
    let (mut total, mut passed, mut full, mut last) = (0, 0, false, None);
    let mut at = Some(0);
    while let Some(from) = at {
        at = read_account(&req, &of.id.0, |tx, account| {
            let (found, next) = messages::sift_contacts(tx, account, &filter, from, LOOKS)?;
            for number in found {
                total += 1;
                if number <= behind || full {
                    continue;
                }
                passed += 1;
                if passed <= part.skip {
                    continue;
                }
                let contact = messages::contact_at(tx, account, number)?;
                full = !room.has_some() || !room.take(&contact);
                if !full {
                    last = Some(number);
                    contacts.push(contact);
                }
            }
            Ok(next)
        })?;
        yield_now().await;
    }
    Ok(Json(ContactList {
        pagination: Pagination::new(page, total, last.filter(|_| full)),
        contacts,
    }))
}

request! {
    /// The person whom the path names.
    pub struct ThisPerson {
        /// a phone number, a person's JID, or `@` and a username
        contact: Addressee = path "contactId",
    }
}

/// What is known of a person; what WhatsApp says is kept for six hours, or until it says that it changed
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "camelCase")]
struct ContactDetails {
    #[serde(flatten)]
    contact: Contact,
    /// The about text, as far as the person shows it to this account.
    about: Option<String>,
    picture: Option<Picture>,
    business: Option<Business>,
    /// The groups that the person is in, too, as far as their members are known here.
    common_groups: Vec<CommonGroup>,
    /// `available` or `unavailable`; `null` without a subscription to the presence.
    #[cfg_attr(test, schemars(extend("enum" = ["available", "unavailable", null])))]
    presence: Option<&'static str>,
    /// When the person was online last, ISO 8601, if that is shown; with `presence`.
    last_seen: Option<String>,
    /// When WhatsApp said so, ISO 8601; `null` if it does not answer, or the account is not connected.
    asked_at: Option<String>,
}

/// One person
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OneContact {
    contact: ContactDetails,
}

pub async fn get(
    req: Req,
    (of, this): (OfAccount, ThisPerson),
) -> Result<Json<OneContact>, ApiError> {
    let accounts = &req.state().accounts;
    let person = person(reached(this.contact, accounts, &of.id.0).await?)?;
    let (contact, facts, shown) = Box::pin(accounts.contact(&of.id.0, person)).await?;
    let common_groups = accounts.common_groups(&of.id.0, &contact).await?;
    let asked_at = facts.as_ref().map(|facts| clock::iso8601(facts.at));
    let Facts {
        about,
        picture,
        business,
        ..
    } = facts.map(|facts| Facts::clone(&facts)).unwrap_or_default();
    Ok(Json(OneContact {
        contact: ContactDetails {
            contact,
            about,
            picture,
            business,
            common_groups,
            presence: shown.map(|shown| match shown.available {
                true => "available",
                false => "unavailable",
            }),
            last_seen: shown.and_then(|shown| shown.last_seen).map(clock::iso8601),
            asked_at,
        },
    }))
}

/// A person's picture.
pub struct Jpeg(Answer);

impl Jpeg {
    /// Bytes that WhatsApp gave: anything else than a JPEG is passed on as bytes.
    pub fn of(bytes: Vec<u8>) -> Jpeg {
        let kind = match bytes.starts_with(&[0xff, 0xd8, 0xff]) {
            true => "image/jpeg",
            false => "application/octet-stream",
        };
        Jpeg(Answer::file(kind, bytes))
    }
}

impl Reply for Jpeg {
    fn into_answer(self) -> Result<Answer, ApiError> {
        Ok(self.0)
    }

    #[cfg(test)]
    fn describe(operation: &mut super::describe::Operation) {
        let bytes = || json_schema!({"type": "string", "format": "binary"});
        let content = [
            ("image/jpeg", bytes()),
            ("application/octet-stream", bytes()),
        ];
        operation.content(200, "The picture; 404 without one", content);
    }
}

pub async fn picture(req: Req, (of, this): (OfAccount, ThisPerson)) -> Result<Jpeg, ApiError> {
    let accounts = &req.state().accounts;
    let person = person(reached(this.contact, accounts, &of.id.0).await?)?;
    let bytes = Box::pin(accounts.contact_picture(&of.id.0, person)).await?;
    Ok(Jpeg::of(bytes))
}

request! {
    /// The entry of a person in the address book.
    pub struct Entry missing "name is required" {
        /// a phone number, a person's JID, or `@` and a username
        contact: Addressee = path "contactId",
        name: Limited<1, 100> = "name",
        /// the first word of `name` if absent
        first_name: Option<Limited<1, 100>> = "firstName",
        /// whether the phone writes it into its own address book, too; `true` if absent
        on_phone: Option<bool> = "onPhone",
    }
}

/// The person after the change
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ChangedContact {
    contact: Contact,
}

pub async fn save(
    req: Req,
    (of, entry): (OfAccount, Entry),
) -> Result<Json<ChangedContact>, ApiError> {
    let accounts = &req.state().accounts;
    let person = person(reached(entry.contact, accounts, &of.id.0).await?)?;
    let name = entry.name.0;
    let first = match entry.first_name {
        Some(Limited(first)) => first,
        None => name.split_whitespace().next().unwrap_or(&name).to_owned(),
    };
    let on_phone = entry.on_phone.unwrap_or(true);
    let saved = accounts.save_contact(&of.id.0, person, Some((name, first)), on_phone);
    let contact = Box::pin(saved).await?;
    Ok(Json(ChangedContact { contact }))
}

pub async fn remove(req: Req, (of, this): (OfAccount, ThisPerson)) -> Result<Json<Done>, ApiError> {
    let accounts = &req.state().accounts;
    let person = person(known(this.contact, accounts, &of.id.0)?)?;
    Box::pin(accounts.save_contact(&of.id.0, person, None, false)).await?;
    Ok(Done::new("Contact removed from the address book"))
}

pub async fn block(
    req: Req,
    (of, this): (OfAccount, ThisPerson),
) -> Result<Json<ChangedContact>, ApiError> {
    set_blocked(&req, &of, this, true).await
}

pub async fn unblock(
    req: Req,
    (of, this): (OfAccount, ThisPerson),
) -> Result<Json<ChangedContact>, ApiError> {
    set_blocked(&req, &of, this, false).await
}

async fn set_blocked(
    req: &Req,
    of: &OfAccount,
    this: ThisPerson,
    block: bool,
) -> Result<Json<ChangedContact>, ApiError> {
    let accounts = &req.state().accounts;
    let person = person(reached(this.contact, accounts, &of.id.0).await?)?;
    let contact = Box::pin(accounts.block(&of.id.0, person, block)).await?;
    Ok(Json(ChangedContact { contact }))
}

/// Everyone whom the account has blocked, as WhatsApp said at the last login and since
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Blocklist {
    contacts: Vec<Contact>,
}

pub async fn blocklist(req: Req, of: OfAccount) -> Result<Json<Blocklist>, ApiError> {
    let contacts = req.state().accounts.blocklist(&of.id.0).await?;
    Ok(Json(Blocklist { contacts }))
}

request! {
    /// The LID or number that the path names.
    pub struct ThisLid {
        /// a LID (`…@lid`), or a phone number
        person: Addressee = path "lid",
    }
}

/// The two JIDs of a person
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Lid {
    /// `null` if it is not known.
    lid: Option<String>,
    /// The phone number, digits alone; `null` if it is not known, or the person hides it.
    number: Option<String>,
}

pub async fn lid(req: Req, (of, this): (OfAccount, ThisLid)) -> Result<Json<Lid>, ApiError> {
    let accounts = &req.state().accounts;
    let field = this.person.field;
    let person = known(this.person, accounts, &of.id.0)?;
    let person = Some(person).filter(ChatJid::is_person);
    let person = person.ok_or(FieldError::Field {
        field,
        expected: "a LID or a phone number",
    })?;
    let Contact { lid, number, .. } = Box::pin(accounts.with_lid(&of.id.0, person)).await?;
    Ok(Json(Lid { lid, number }))
}

/// A chat that is one with a person.
pub fn person(chat: ChatJid) -> Result<ChatJid, ApiError> {
    match chat.is_person() {
        true => Ok(chat),
        false => Err(AccountError::Unwritable(NO_PERSON).into()),
    }
}

const NO_PERSON: &str =
    "\"contactId\" must be a person: a phone number, a JID, or @ and a username";
