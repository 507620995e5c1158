// Model profiles and notification preferences: given / when / then.
#include "actors/preferences/preferences.h"

#include "tests/unit/actors/given.h"

namespace soma::actors {
namespace {

using Preferences = Given<PreferencesDecider>;
const ActorKey kSelf = preferences_key("acme");

TEST(Preferences, AProfileIsAVersionAChange) {
  Preferences p(kSelf);
  const std::string put =
      "put_model_profile { profile { name: 'default' roles { key: 'chat' value { primary: 'big' "
      "fallbacks: 'small' } } } }";
  p.when(put).then({"model.profile.updated"});
  p.when(put).then({});
  EXPECT_EQ(p.reply().profile().version(), 1u);
  p.when("put_model_profile { profile { name: 'default' } expected_tags: '9-x' }")
      .refused(Code::kVersionMismatch);
  p.when("put_model_profile { profile { name: 'default' } }").then({"model.profile.updated"});
}

TEST(Preferences, ProfilesThatCannotBeMeantNameTheirField) {
  Preferences p(kSelf);
  const auto refused = [&](const std::string& roles, const std::string& field) {
    p.when("put_model_profile { profile { name: 'x' " + roles + " } }")
        .refused(Code::kInvalidArgument, field);
  };
  refused("roles { key: 'chat' value { } }", "body.chat.primary");
  refused("roles { key: 'chat' value { primary: 'a' fallbacks: 'a' } }", "body.chat.fallbacks");
  refused("roles { key: 'dance' value { primary: 'a' } }", "body.dance");
}

TEST(Preferences, QuietHoursAndChannelsAreChecked) {
  Preferences p(kSelf);
  const auto put = [](const std::string& fields) {
    return "put_notification_preferences { preferences { user_id: 'ana' " + fields + " } }";
  };
  const auto quiet = [&](const std::string& start, const std::string& end,
                         const std::string& days = "") {
    return put("quiet_hours { timezone: 'UTC' start: '" + start + "' end: '" + end + "' " + days +
               " }");
  };
  p.when(quiet("22:00", "06:30", "days: 1 days: 7")).then({"notification_preferences.changed"});
  p.when(quiet("24:00", "06:30")).refused(Code::kInvalidArgument, "body.quiet_hours.start");
  p.when(quiet("22:00", "6:30")).refused(Code::kInvalidArgument, "body.quiet_hours.end");
  p.when(quiet("22:00", "22:60")).refused(Code::kInvalidArgument, "body.quiet_hours.end");
  p.when(quiet("22:00", "22:00")).refused(Code::kInvalidArgument, "body.quiet_hours.end");
  for (const char* days : {"days: 0", "days: 8", "days: 1 days: 1"})
    p.when(quiet("22:00", "23:00", days)).refused(Code::kInvalidArgument, "body.quiet_hours.days");
  const auto channel = [&](const std::string& fields) {
    return put("channels { severity_threshold: 'info' " + fields + " }");
  };
  p.when(channel("channel: 'web'")).then({"notification_preferences.changed"});
  p.when(channel("channel: 'pigeon'")).refused(Code::kInvalidArgument, "body.channels.0.channel");
  p.when(channel("channel: 'email'")).refused(Code::kInvalidArgument, "body.channels.0.address");
  p.when(channel("channel: 'sms'")).refused(Code::kInvalidArgument, "body.channels.0.number");
  p.when(channel("channel: 'webhook' url: 'ftp://x'"))
      .refused(Code::kInvalidArgument, "body.channels.0.url");
}

}  // namespace
}  // namespace soma::actors
