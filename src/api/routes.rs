//! The API's table of contents. A new endpoint is one entry here and one handler.

use super::answer::{Created, Done, Json};
use super::delivery::Delivery;
use super::metrics;
use super::page::Paging;
use super::recipients::{FORWARDS, ToMany};
use super::route::{Route, routes};
use super::sending::{FileRequest, SentOrAccepted};
use super::values::{OfAccount, OfHook, OfMessage, OnlyAccount};
use super::{
    accounts, album, calls, chats, connection, contacts, events, groups, health, media, messages,
    openapi, outbox, passkey, people, presence, profile, qr, search, sending, stories, this_server,
    timer, typing, webhooks,
};
use crate::account::{Joining, MediaCursor, OutboxView, PasskeyView, StatusView};
use crate::message::{
    CastVote, DeleteMessage, EditMessage, ForwardMessage, KeepMessage, PinMessage, React,
    ReplyText, RespondToEvent, SendContact, SendEvent, SendLocation, SendPoll, SendText,
    StarMessage, UnpinMessage, UnstarMessage,
};
use crate::store::groups::GroupCursor;
use crate::store::messages::Cursor;
use crate::webhook::TestOutcome;

/// Every endpoint.
pub const ROUTES: &[Route] = routes![
    Get "/ping" ping Server, Open, Usual,
        health::ping: () => Json<health::Pong>,
        "Whether the server is up";
    Get "/health" health Server, Filtered, Usual,
        health::health: () => health::Health,
        "200, or 503 with what is wrong: of each account, of storage, of the event thread";
    Get "/server" getServer Server, Keyless, Usual,
        this_server::show: () => Json<this_server::Server>,
        "This server: version, storage, and what the request's key may do; without a key only whether there are keys";
    Get "/keys" listKeys Server, AllAccounts, Usual,
        this_server::keys: () => Json<this_server::KeyList>,
        "The keys' names and what each may do";
    Get "/settings" listSettings Server, AllAccounts, Usual,
        this_server::settings: () => Json<this_server::SettingList>,
        "Every setting with its value";
    Get "/metrics" getMetrics Server, AllAccounts, Usual,
        metrics::show: () => metrics::Exposition,
        "Counters and gauges for Prometheus, in its text format or as OpenMetrics";
    Get "/openapi.json" openapi Server, Filtered, Usual,
        openapi::document: () => openapi::Document,
        "This API as an OpenAPI document";
    Post "/accounts" createAccount Accounts, Filtered, Usual,
        accounts::create: accounts::NewAccount => Created<accounts::OneAccount>,
        "Create an account and start pairing it";
    Get "/accounts" listAccounts Accounts, Filtered, Usual,
        accounts::list: () => Json<accounts::AccountList>,
        "All accounts, in order of creation";
    Get "/accounts/:id" getAccount Accounts, Account, Usual,
        accounts::get: OfAccount => Json<accounts::OneAccount>,
        "One account";
    Patch "/accounts/:id" renameAccount Accounts, Account, Usual,
        accounts::rename: (OfAccount, accounts::NewName) => Json<accounts::OneAccount>,
        "Give an account another name";
    Delete "/accounts/:id" deleteAccount Accounts, Account, Usual,
        accounts::delete: OfAccount => Json<Done>,
        "Unlink an account and remove everything it stored";
    Get "/accounts/:id/status" getStatus Connection, Account, Usual,
        connection::status: OfAccount => Json<StatusView>,
        "Connection status, with the QR code's text while one waits";
    Post "/accounts/:id/connect" connect Connection, Account, Usual,
        connection::connect: OfAccount => Json<connection::Connecting>,
        "Connect, or start a new pairing after a logout";
    Post "/accounts/:id/disconnect" disconnect Connection, Account, Usual,
        connection::disconnect: OfAccount => Json<Done>,
        "Disconnect and stay so; keeps the pairing";
    Get "/accounts/:id/profile" getProfile Accounts, Account, File,
        profile::show: OfAccount => Json<profile::OwnProfile>,
        "What the account shows: name, about text, picture";
    Patch "/accounts/:id/profile" changeProfile Accounts, Account, File,
        profile::change: (OfAccount, profile::ChangeProfile) => Json<profile::OwnProfile>,
        "Change the name, the about text or the picture";
    Get "/accounts/:id/privacy" getPrivacy Accounts, Account, Usual,
        profile::privacy: OfAccount => Json<profile::PrivacySettings>,
        "Who sees what of the account and who may do what, and the timer of new chats";
    Patch "/accounts/:id/privacy" changePrivacy Accounts, Account, File,
        profile::change_privacy: (OfAccount, profile::ChangePrivacy) => Json<profile::PrivacySettings>,
        "Change privacy settings";
    Get "/accounts/:id/devices" listDevices Accounts, Account, File,
        profile::devices: OfAccount => Json<profile::DeviceList>,
        "The account's devices: its phone, and those that are linked";
    Post "/accounts/:id/presence" setPresence Connection, Account, Usual,
        presence::set: (OfAccount, presence::SetPresence) => Json<Done>,
        "Show the account as `available` or `unavailable` to others; while available, its phone gets no notifications";
    Get "/accounts/:id/qr" getQr Pairing, Account, Usual,
        qr::show: (OfAccount, qr::Wanted) => qr::Code,
        "The QR code as `?format=png`, `svg`, `text` or `raw`";
    Post "/accounts/:id/pair-code" pairByCode Pairing, Account, Usual,
        connection::pair_code: (OfAccount, connection::PairCode) => Json<connection::Code>,
        "The 8-character code for \"link with phone number\"";
    Get "/accounts/:id/passkey" getPasskey Pairing, Account, Usual,
        passkey::show: OfAccount => Json<PasskeyView>,
        "The passkey that WhatsApp asks for: its challenge, the code to compare, what to do";
    Post "/accounts/:id/passkey" answerPasskey Pairing, Account, Usual,
        passkey::answer: (OfAccount, passkey::Credential) => Json<PasskeyView>,
        "Show WhatsApp the passkey's answer";
    Delete "/accounts/:id/passkey" giveUpPasskey Pairing, Account, Usual,
        passkey::give_up: OfAccount => Json<passkey::PasskeyStep>,
        "Give linking with a passkey up; a new QR code follows";
    Post "/accounts/:id/passkey/confirm" confirmPasskey Pairing, Account, Usual,
        passkey::confirm: OfAccount => Json<passkey::PasskeyStep>,
        "Confirm that the phone shows the same code";
    Get "/accounts/:id/passkey/guide" getPasskeyGuide Pairing, Account, Usual,
        passkey::guide: OfAccount => passkey::Guide,
        "What to do in a browser on WhatsApp's site, with the line to paste, as text";
    Post "/accounts/:id/message/send" sendText Sending, Account, Usual,
        sending::send_to: (OfAccount, ToMany<SendText>, Delivery) => SentOrAccepted,
        "Send a text, with mentions or as a reply if wanted";
    Post "/accounts/:id/message/send/image" sendImage Sending, Account, File,
        sending::image: FileRequest, file "image" => SentOrAccepted,
        "Send an image: a form with the file, or JSON with `url` or `base64`";
    Post "/accounts/:id/message/send/video" sendVideo Sending, Account, File,
        sending::video: FileRequest, file "video" => SentOrAccepted,
        "Send a video, as a looping clip with `gifPlayback`, as a round one with `note`";
    Post "/accounts/:id/message/send/audio" sendAudio Sending, Account, Sound,
        sending::audio: FileRequest, file "audio" => SentOrAccepted,
        "Send audio, as a voice note with `ptt`";
    Post "/accounts/:id/message/send/document" sendDocument Sending, Account, File,
        sending::document: FileRequest, file "document" => SentOrAccepted,
        "Send any file";
    Post "/accounts/:id/message/send/sticker" sendSticker Sending, Account, File,
        sending::sticker: FileRequest, file "sticker" => SentOrAccepted,
        "Send a sticker, made of a WebP, PNG, JPEG or GIF";
    Post "/accounts/:id/message/send/album" sendAlbum Sending, Account, Sound,
        album::send: album::AlbumRequest, file "files" => SentOrAccepted,
        "Send 2 to 30 images and videos as an album: a form with `files`, or JSON with a list of them";
    Post "/accounts/:id/message/send/location" sendLocation Sending, Account, Usual,
        sending::send_to: (OfAccount, ToMany<SendLocation>, Delivery) => SentOrAccepted,
        "Send a place, with its name and address if wanted";
    Post "/accounts/:id/message/send/contact" sendContact Sending, Account, Usual,
        sending::send_to: (OfAccount, ToMany<SendContact>, Delivery) => SentOrAccepted,
        "Send contact cards: `contacts`, a `vcard`, or `name` and `phone`";
    Post "/accounts/:id/message/send/poll" sendPoll Sending, Account, Usual,
        sending::send_to: (OfAccount, ToMany<SendPoll>, Delivery) => SentOrAccepted,
        "Send a poll: a `question` and 2 to 12 `options`; votes come as `poll.vote`";
    Post "/accounts/:id/message/send/status" sendStatus Sending, Account, Sound,
        stories::send: stories::StoryRequest, file "file" => SentOrAccepted,
        "Post a story: a text, or an image, a video or sound, to all contacts or to `recipients`";
    Post "/accounts/:id/message/poll/vote" votePoll Sending, Account, Usual,
        sending::send: (OfAccount, CastVote, Delivery) => SentOrAccepted,
        "Vote in a poll; no `options` take the vote back";
    Post "/accounts/:id/message/send/event" sendEvent Sending, Account, Usual,
        sending::send_to: (OfAccount, ToMany<SendEvent>, Delivery) => SentOrAccepted,
        "Send an event: a `name` and its `start`; responses come as `event.response`";
    Post "/accounts/:id/message/event/respond" respondToEvent Sending, Account, Usual,
        sending::send: (OfAccount, RespondToEvent, Delivery) => SentOrAccepted,
        "Respond to an event: `going`, `not_going` or `maybe`";
    Post "/accounts/:id/message/reply" reply Sending, Account, Usual,
        sending::send: (OfAccount, ReplyText, Delivery) => SentOrAccepted,
        "Answer a message with a text";
    Post "/accounts/:id/message/react" react Sending, Account, Usual,
        sending::send: (OfAccount, React, Delivery) => SentOrAccepted,
        "React with an emoji; an empty one takes it back";
    Post "/accounts/:id/message/edit" editMessage Sending, Account, Usual,
        sending::send: (OfAccount, EditMessage, Delivery) => SentOrAccepted,
        "Change the text or caption of an own message, within 15 minutes";
    Post "/accounts/:id/message/forward" forwardMessage Sending, Account, Usual,
        sending::send_to: (OfAccount, ToMany<ForwardMessage, FORWARDS>, Delivery) => SentOrAccepted,
        "Send a stored message to another chat, or up to 5, marked as forwarded, without uploading its file again";
    Post "/accounts/:id/message/delete" deleteMessage Sending, Account, Usual,
        sending::send: (OfAccount, DeleteMessage, Delivery) => SentOrAccepted,
        "Delete a message for everyone, or with `forMe` on the account's own devices";
    Post "/accounts/:id/message/pin" pinMessage Sending, Account, Usual,
        sending::send: (OfAccount, PinMessage, Delivery) => SentOrAccepted,
        "Pin a message for all in its chat, for `duration` days: 1, 7 or 30";
    Post "/accounts/:id/message/unpin" unpinMessage Sending, Account, Usual,
        sending::send: (OfAccount, UnpinMessage, Delivery) => SentOrAccepted,
        "End the pin of a message";
    Post "/accounts/:id/message/keep" keepMessage Sending, Account, Usual,
        sending::send: (OfAccount, KeepMessage, Delivery) => SentOrAccepted,
        "Keep a message although its chat's messages disappear; `keep: false` takes it back";
    Post "/accounts/:id/message/star" starMessage Sending, Account, Usual,
        sending::send: (OfAccount, StarMessage, Delivery) => SentOrAccepted,
        "Star a message, on all devices of the account";
    Post "/accounts/:id/message/unstar" unstarMessage Sending, Account, Usual,
        sending::send: (OfAccount, UnstarMessage, Delivery) => SentOrAccepted,
        "Remove the star of a message";
    Get "/accounts/:id/outbox" listOutbox Sending, Account, Usual,
        outbox::list: (OfAccount, Paging<u64>) => Json<OutboxView>,
        "Messages that wait to be sent, in the order in which they go";
    Delete "/accounts/:id/outbox/:messageId" cancelMessage Sending, Account, Usual,
        outbox::cancel: (OfAccount, outbox::OfEntry) => Json<Done>,
        "Cancel a message that waits";
    Get "/accounts/:id/chats" listChats Messages, Account, Usual,
        chats::list: (OfAccount, chats::Filter, Paging<Cursor>) => Json<chats::ChatList>,
        "Chats, newest first";
    Patch "/accounts/:id/chats/:chatId" changeChat Messages, Account, Usual,
        chats::change: (OfAccount, chats::ChatChange) => Json<chats::OneChat>,
        "Archive, pin or mute a chat, or mark it as unread, on the phone, too";
    Delete "/accounts/:id/chats/:chatId" deleteChat Messages, Account, Usual,
        chats::delete: (OfAccount, chats::ThisChat) => Json<Done>,
        "Remove a chat with its messages and files, on the phone, too";
    Get "/accounts/:id/chats/:chatId/messages" listChatMessages Messages, Account, Usual,
        chats::messages: (OfAccount, Paging<Cursor>, chats::OfChat) => Json<chats::MessageList>,
        "The messages of a chat, newest first";
    Post "/accounts/:id/chats/:chatId/read" markRead Messages, Account, Usual,
        sending::read: (OfAccount, sending::MarkRead) => Json<Done>,
        "Mark a chat, or `messageIds` of it, as read";
    Post "/accounts/:id/chats/:chatId/typing" showTyping Sending, Account, Usual,
        typing::show: (OfAccount, typing::ShowState) => Json<Done>,
        "Show that the account types or records, for `seconds`";
    Post "/accounts/:id/calls/:callId/reject" rejectCall Sending, Account, Usual,
        calls::reject: calls::OfCall => Json<Done>,
        "Reject a call that rings";
    Post "/accounts/:id/chats/:chatId/timer" setTimer Sending, Account, Usual,
        timer::set: (OfAccount, timer::SetTimer) => Json<Done>,
        "Set after how many `seconds` the messages of a chat disappear: 0, 86400, 604800 or 7776000";
    Get "/accounts/:id/contacts" listContacts Contacts, Account, Usual,
        people::list: (OfAccount, people::Filter, Paging<u64>) => Json<people::ContactList>,
        "People in the address book or in chats, whose name, username or number has `q`";
    Get "/accounts/:id/contacts/:contactId" getContact Contacts, Account, File,
        people::get: (OfAccount, people::ThisPerson) => Json<people::OneContact>,
        "One person: names, number and LID, about text, picture, what a business says of itself";
    Put "/accounts/:id/contacts/:contactId" saveContact Contacts, Account, Usual,
        people::save: (OfAccount, people::Entry) => Json<people::ChangedContact>,
        "Write a person into the address book, on the phone, too";
    Delete "/accounts/:id/contacts/:contactId" removeContact Contacts, Account, Usual,
        people::remove: (OfAccount, people::ThisPerson) => Json<Done>,
        "Empty a person's entry in the address book";
    Get "/accounts/:id/contacts/:contactId/picture" getContactPicture Contacts, Account, File,
        people::picture: (OfAccount, people::ThisPerson) => people::Jpeg,
        "A person's picture, a JPEG";
    Post "/accounts/:id/contacts/:contactId/block" blockContact Contacts, Account, Usual,
        people::block: (OfAccount, people::ThisPerson) => Json<people::ChangedContact>,
        "Block a person";
    Post "/accounts/:id/contacts/:contactId/unblock" unblockContact Contacts, Account, Usual,
        people::unblock: (OfAccount, people::ThisPerson) => Json<people::ChangedContact>,
        "Unblock a person";
    Post "/accounts/:id/contacts/:contactId/presence/subscribe" subscribePresence Contacts, Account, Usual,
        presence::subscribe: (OfAccount, people::ThisPerson) => Json<Done>,
        "Be told by `presence` events when a person is online; the account must be `available` itself";
    Get "/accounts/:id/blocklist" listBlocked Contacts, Account, Usual,
        people::blocklist: OfAccount => Json<people::Blocklist>,
        "Everyone whom the account has blocked";
    Get "/accounts/:id/lids/:lid" getLid Contacts, Account, Usual,
        people::lid: (OfAccount, people::ThisLid) => Json<people::Lid>,
        "The number of a LID, or the LID of a number";
    Get "/accounts/:id/stories" listStories Messages, Account, Usual,
        stories::list: (OfAccount, Paging<Cursor>) => Json<chats::MessageList>,
        "Stories of contacts and own ones of the last 24 hours, newest first";
    Post "/accounts/:id/contacts/check" checkNumbers Contacts, Account, Sound,
        contacts::check: (OfAccount, contacts::Check) => Json<contacts::CheckedNumbers>,
        "Whether up to 1,000 numbers are on WhatsApp, and the chat with each";
    Get "/accounts/:id/groups" listGroups Groups, Account, Usual,
        groups::list: (OfAccount, Paging<GroupCursor>) => Json<groups::GroupList>,
        "The groups that the account is in";
    Post "/accounts/:id/groups" createGroup Groups, Account, Usual,
        groups::create: (OfAccount, groups::NewGroup) => Created<groups::MadeGroup>,
        "Create a group; `results` says what became of each member";
    Get "/accounts/:id/groups/invite" getInvitation Groups, Account, Usual,
        groups::invitation: (OfAccount, groups::Invitation) => Json<groups::InvitedTo>,
        "The group to which an invite `link` leads, before joining it";
    Post "/accounts/:id/groups/join" joinGroup Groups, Account, Usual,
        groups::join: (OfAccount, groups::Join) => Json<Joining>,
        "Join a group by its invite `link`, or ask its admins where they approve that";
    Get "/accounts/:id/groups/:groupId" getGroup Groups, Account, Usual,
        groups::get: (OfAccount, groups::OfGroup) => Json<groups::OneGroup>,
        "A group with its members and settings";
    Patch "/accounts/:id/groups/:groupId" changeGroup Groups, Account, Usual,
        groups::change: (OfAccount, groups::OfGroup, groups::GroupSettings) => Json<groups::OneGroup>,
        "Change a group's subject, description, settings or timer";
    Post "/accounts/:id/groups/:groupId/members" changeMembers Groups, Account, Usual,
        groups::members: (OfAccount, groups::OfGroup, groups::MemberChanges) => Json<groups::MemberResults>,
        "Add, remove, promote or demote members, with one result for each";
    Post "/accounts/:id/groups/:groupId/leave" leaveGroup Groups, Account, Usual,
        groups::leave: (OfAccount, groups::OfGroup) => Json<Done>,
        "Leave a group";
    Get "/accounts/:id/groups/:groupId/invite" getInvite Groups, Account, Usual,
        groups::invite: (OfAccount, groups::OfGroup) => Json<groups::InviteLink>,
        "The invite link of a group; only its admins get it";
    Delete "/accounts/:id/groups/:groupId/invite" resetInvite Groups, Account, Usual,
        groups::reset_invite: (OfAccount, groups::OfGroup) => Json<groups::InviteLink>,
        "Revoke the invite link of a group, and get the new one";
    Get "/accounts/:id/groups/:groupId/requests" listJoinRequests Groups, Account, Usual,
        groups::requests: (OfAccount, groups::OfGroup) => Json<groups::JoinRequests>,
        "The people who ask to join a group";
    Post "/accounts/:id/groups/:groupId/requests" decideJoinRequests Groups, Account, Usual,
        groups::decide: (OfAccount, groups::OfGroup, groups::Decisions) => Json<groups::MemberResults>,
        "Approve or reject people who ask to join a group";
    Post "/accounts/:id/communities" createCommunity Groups, Account, Usual,
        groups::create_community: (OfAccount, groups::NewCommunity) => Created<groups::OneGroup>,
        "Create a community, with its group for announcements";
    Get "/accounts/:id/communities" listCommunities Groups, Account, Usual,
        groups::communities: OfAccount => Json<groups::CommunityList>,
        "The communities that the account is in, with their groups";
    Post "/accounts/:id/communities/:groupId/groups" linkGroups Groups, Account, Usual,
        groups::link_groups: (OfAccount, groups::OfGroup, groups::Links) => Json<groups::LinkResults>,
        "Take groups into a community or out of it: `link`, `unlink`";
    Get "/accounts/:id/messages" searchMessages Messages, Account, Usual,
        search::search: (OfAccount, search::Query, Paging<Cursor>) => Json<chats::MessageList>,
        "Messages with the words `q`, newest first, of a chat, a sender, a type or a time if wanted";
    Get "/accounts/:id/messages/:messageId" getMessage Messages, Account, Usual,
        messages::get: (OfMessage, messages::Shown) => Json<messages::OneMessage>,
        "One message; `raw=true` adds its protobuf, if it is not understood in full";
    Get "/accounts/:id/messages/:messageId/media" getMessageFile Messages, Account, File,
        media::of_message: (OfMessage, media::OfMedium) => media::FileBytes,
        "The file of a message";
    Get "/messages" listMessages Messages, Filtered, Usual,
        messages::of_all: (OnlyAccount, Paging<Cursor>) => Json<chats::MessageList>,
        "Messages of all accounts or one, newest first";
    Get "/media" listFiles Files, Filtered, File,
        media::list: (OnlyAccount, media::Filter, Paging<MediaCursor>) => Json<media::MediaList>,
        "The stored files and what they belong to";
    Get "/media/:mediaId" getFile Files, Filtered, File,
        media::by_id: media::OfFile => media::FileBytes,
        "One stored file";
    Get "/events" readEvents Events, Filtered, Events,
        events::read: events::Wanted => events::Events,
        "What happened, from the event log: `after`, `limit`, `wait`, or as a stream";
    Post "/webhooks" addWebhook Webhooks, Filtered, Usual,
        webhooks::register: webhooks::NewHook => webhooks::Registered,
        "Register a URL to receive events";
    Get "/webhooks" listWebhooks Webhooks, Filtered, Usual,
        webhooks::list: () => Json<webhooks::HookList>,
        "All webhooks and how their deliveries go";
    Delete "/webhooks/:id" removeWebhook Webhooks, Webhook, Usual,
        webhooks::remove: OfHook => Json<Done>,
        "Remove a webhook by its id";
    Delete "/webhooks" removeWebhookByUrl Webhooks, Filtered, Usual,
        webhooks::remove_by_url: webhooks::ByUrl => Json<Done>,
        "Remove a webhook by `?url=`";
    Post "/webhooks/:id/test" testWebhook Webhooks, Webhook, Usual,
        webhooks::test: OfHook => Json<TestOutcome>,
        "Send a `ping` event and show what the receiver answered";
    Get "/webhooks/:id/dead" listDeadLetters Webhooks, Webhook, Usual,
        webhooks::dead: (OfHook, Paging<u64>) => Json<webhooks::DeadList>,
        "Events that were given up for a webhook";
    Post "/webhooks/:id/replay" replayDeadLetters Webhooks, Webhook, Usual,
        webhooks::replay: (OfHook, webhooks::Replay) => Json<webhooks::Replaying>,
        "Deliver dead letters again: all, or those of `ids`";
];
