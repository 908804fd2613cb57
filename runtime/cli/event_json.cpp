#include <eventcore/runtime/cli/event_json.hpp>

#include <google/protobuf/message.h>
#include <google/protobuf/util/json_util.h>

#include <array>
#include <cstdio>

namespace eventcore::cli {

using nlohmann::ordered_json;

const char* const event_lines_help =
    "Each event is one line of JSON: position, stream, version, id, type, schema_version,\n"
    "occurred_at, metadata and idempotency_key (if there are any), and data: the payload in Protobuf's JSON "
    "mapping,\n"
    "in which 64-bit integers are strings and bytes are base64. Bytes of a payload that its type\n"
    "does not describe are counted in undescribed_bytes. An event that cannot be decoded has data\n"
    "null, error, and its payload in data_base64.";

std::string to_text(timestamp t) {
  using namespace std::chrono;
  const auto day = floor<days>(t);
  if (day < sys_days{year{0} / 1 / 1} || day > sys_days{year{9999} / 12 / 31})
    return std::to_string(t.time_since_epoch().count());
  const year_month_day date{day};
  const hh_mm_ss time{t - day};
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%04d-%02u-%02uT%02d:%02d:%02d.%06dZ", int{date.year()},
                unsigned{date.month()}, unsigned{date.day()}, static_cast<int>(time.hours().count()),
                static_cast<int>(time.minutes().count()), static_cast<int>(time.seconds().count()),
                static_cast<int>(time.subseconds().count()));
  return text.data();
}

std::string to_line(const ordered_json& value) {
  const auto text = value.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  // JSON lets DEL and U+0080 to U+009F stand as they are, but terminals may obey them.
  std::string line;
  line.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto next = i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0;
    const bool c1 = byte == 0xc2 && next < 0xa0;
    if (c1 || byte == 0x7f) {
      std::array<char, 8> escape{};
      std::snprintf(escape.data(), escape.size(), "\\u%04x", c1 ? next : byte);
      line += escape.data();
      i += c1;
    } else {
      line += text[i];
    }
  }
  return line;
}

namespace {

std::string base64(std::string_view bytes) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const auto group = bytes.substr(i, 3);
    std::uint32_t bits = 0;
    for (std::size_t k = 0; k < 3; ++k)
      bits = bits << 8 | (k < group.size() ? static_cast<unsigned char>(group[k]) : 0u);
    for (std::size_t k = 0; k < 4; ++k)
      text += k <= group.size() ? digits[bits >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

ordered_json to_json(const event_metadata& m) {
  auto json = ordered_json::object();
  const auto add = [&](const char* name, const std::string& value) {
    if (!value.empty())
      json[name] = value;
  };
  add("correlation_id", m.correlation_id);
  add("causation_id", m.causation_id);
  add("tenant", m.tenant);
  add("user", m.user);
  add("traceparent", m.traceparent);
  if (!m.headers.empty())
    json["headers"] = m.headers;
  return json;
}

ordered_json without_payload(const recorded_event& e) {
  ordered_json json{{"position", e.position},
                    {"stream", e.stream},
                    {"version", e.version},
                    {"id", to_string(e.id)},
                    {"type", e.type},
                    {"schema_version", e.schema_version},
                    {"occurred_at", to_text(e.occurred_at)}};
  if (e.metadata != event_metadata{})
    json["metadata"] = to_json(e.metadata);
  if (!e.answer.key.empty())
    json["idempotency_key"] = e.answer.key;
  return json;
}

/// Bytes of the message that its type does not describe. Removes them.
std::size_t drop_undescribed(google::protobuf::Message& message) {
  const auto before = message.ByteSizeLong();
  message.DiscardUnknownFields();
  return before - message.ByteSizeLong();
}

/// Null, and `why`, if JSON cannot say it.
ordered_json to_json(const google::protobuf::Message& message, std::string& why) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string text;
  const auto status = google::protobuf::util::MessageToJsonString(message, &text, options);
  auto json = status.ok() ? ordered_json::parse(text, nullptr, false) : ordered_json{};
  if (!status.ok())
    why = std::string{status.message()};
  else if (json.is_discarded())
    why = "it contains text that is not UTF-8";
  else
    return json;
  return nullptr;
}

} // namespace

event_printer::event_printer(journal_reader& journal, output& out)
    : decoder_{journal}
    , out_{out} {}

void event_printer::print(const recorded_event& e) {
  auto line = without_payload(e);
  const auto wrong = [&](const std::string& why) {
    line["data_base64"] = base64(e.payload);
    print_wrong(std::move(line), why);
  };
  const auto message = decoder_.decode(e);
  if (!message)
    return wrong(message.error().message());
  const auto undescribed = drop_undescribed(**message);
  std::string why;
  auto data = to_json(**message, why);
  if (!why.empty())
    return wrong("stream " + e.stream + ", version " + std::to_string(e.version) + ", position " +
                 std::to_string(e.position) + ", type " + e.type +
                 ": the payload cannot be written as JSON: " + why);
  line["data"] = std::move(data);
  if (undescribed != 0)
    line["undescribed_bytes"] = undescribed;
  out_.line(to_line(line));
}

void event_printer::print_undecoded(const recorded_event& e) {
  auto line = without_payload(e);
  line["data_base64"] = base64(e.payload);
  out_.line(to_line(line));
}

void event_printer::print_damaged(ordered_json known, const error& why) {
  print_wrong(std::move(known), why.message());
}

void event_printer::print_wrong(ordered_json line, const std::string& why) {
  all_sound_ = false;
  line["data"] = nullptr;
  line["error"] = why;
  out_.line(to_line(line));
  out_.flush();
  complain(why);
}

} // namespace eventcore::cli
