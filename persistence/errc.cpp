#include <eventcore/persistence/errc.hpp>

namespace eventcore {

namespace {

class journal_error_category final : public std::error_category {
public:
  const char* name() const noexcept override { return "eventcore.journal"; }

  std::string message(int code) const override {
    switch (static_cast<journal_errc>(code)) {
    case journal_errc::invalid_argument:
      return "an argument breaks a documented bound";
    case journal_errc::invalid_stream_id:
      return "the text is no stream id";
    case journal_errc::conflict:
      return "a stream or cursor is not where the commit expects it";
    case journal_errc::epoch_closed:
      return "an earlier commit of the same writer epoch failed";
    case journal_errc::overloaded:
      return "too many commits wait for the writer";
    case journal_errc::too_large:
      return "the commit is larger than a commit may be";
    case journal_errc::disk_full:
      return "the disk is full or its reserve would be used up";
    case journal_errc::outcome_unknown:
      return "it is not known whether the commit is durable";
    case journal_errc::corrupt:
      return "the journal is damaged";
    case journal_errc::cannot_open:
      return "the journal cannot be opened";
    case journal_errc::wrong_format:
      return "the journal has another format version";
    case journal_errc::wrong_journal:
      return "the folder holds another journal than the one expected";
    case journal_errc::locked:
      return "the journal is open elsewhere";
    case journal_errc::closed:
      return "the journal is closed";
    case journal_errc::io_error:
      return "reading the journal failed";
    case journal_errc::not_owned:
      return "the stream belongs to another service";
    }
    return "unknown journal error " + std::to_string(code);
  }
};

} // namespace

const std::error_category& journal_category() noexcept {
  static const journal_error_category category;
  return category;
}

} // namespace eventcore
