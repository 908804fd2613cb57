#include "csv_reader.hpp"

#include <csv.h>
#include <utf8.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <system_error>

namespace permits {

using eventcore::error;
using eventcore::result;

namespace {

constexpr std::size_t buffer_bytes = 64u << 10;

error file_error(int code, const std::filesystem::path& path, const std::string& what) {
  return {std::error_code{code, std::generic_category()}, path.string() + ": " + what};
}

error bad_content(const std::filesystem::path& path, const std::string& what) {
  return file_error(EILSEQ, path, what);
}

std::string join(const std::vector<std::string>& names) {
  constexpr std::size_t most = 30;
  constexpr std::size_t longest = 60;
  std::string text;
  for (std::size_t i = 0; i < names.size() && i < most; ++i) {
    text += i == 0 ? "" : ", ";
    text += names[i].size() <= longest ? names[i] : names[i].substr(0, longest) + "...";
  }
  if (names.size() > most)
    text += " and " + std::to_string(names.size() - most) + " more";
  return text;
}

} // namespace

void csv_reader::free_parser::operator()(csv_parser* p) const noexcept {
  csv_free(p);
  delete p;
}

csv_reader::csv_reader(std::filesystem::path path, std::unique_ptr<std::FILE, close_file> file)
    : path_{std::move(path)}
    , file_{std::move(file)}
    , buffer_(buffer_bytes) {
  auto parser = std::make_unique<csv_parser>();
  if (csv_init(parser.get(), CSV_STRICT | CSV_STRICT_FINI) != 0)
    throw std::bad_alloc{};
  csv_set_space_func(parser.get(), [](unsigned char) { return 0; });
  csv_set_blk_size(parser.get(), buffer_bytes);
  parser_.reset(parser.release());
}

csv_reader::csv_reader(csv_reader&&) noexcept = default;
csv_reader& csv_reader::operator=(csv_reader&&) noexcept = default;
csv_reader::~csv_reader() = default;

result<csv_reader> csv_reader::open(const std::filesystem::path& path) {
  std::error_code failure;
  const auto status = std::filesystem::status(path, failure);
  if (!std::filesystem::exists(status))
    return file_error(ENOENT, path, "there is no such file; name an existing CSV file");
  if (std::filesystem::is_directory(status))
    return file_error(EISDIR, path, "this is a folder; name a CSV file");
  if (!std::filesystem::is_regular_file(status))
    return file_error(EINVAL, path, "this is no regular file; save the data to a file first");
  std::unique_ptr<std::FILE, close_file> file{std::fopen(path.c_str(), "rbe")};
  if (!file)
    return file_error(errno, path,
                      std::string{"cannot be read ("} + std::strerror(errno) + "); check its permissions");

  csv_reader reader{path, std::move(file)};
  constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
  if (auto more = reader.fill(); !more)
    return more.error();
  if (std::string_view{reader.buffer_.data(), reader.end_}.starts_with(byte_order_mark))
    reader.begin_ = byte_order_mark.size();
  const auto found = reader.next();
  if (!found)
    return found.error();
  if (!*found)
    return bad_content(path, "the file is empty; a CSV file starts with a line of column names");
  for (std::size_t i = 0; i < reader.size(); ++i) {
    const auto name = reader.field(i);
    if (!utf8::is_valid(name.begin(), name.end()))
      return reader.broken(reader.line(),
                           "the column names are not UTF-8; is this a CSV file? Convert it to UTF-8");
    reader.header_.emplace_back(name);
  }
  return reader;
}

result<std::vector<std::size_t>> csv_reader::columns(const std::vector<std::string>& names) const {
  std::vector<std::size_t> indices;
  std::vector<std::string> missing;
  for (const auto& name : names) {
    const auto found = std::find(header_.begin(), header_.end(), name);
    if (found == header_.end())
      missing.push_back(name);
    else if (std::find(found + 1, header_.end(), name) != header_.end())
      return bad_content(path_, "two columns are named " + name + "; rename one of them");
    else
      indices.push_back(static_cast<std::size_t>(found - header_.begin()));
  }
  if (!missing.empty())
    return bad_content(path_, "missing columns: " + join(missing) + "; the file has: " + join(header_));
  return indices;
}

std::string_view csv_reader::field(std::size_t index) const noexcept {
  const auto begin = index == 0 ? 0 : field_ends_[index - 1];
  return std::string_view{text_}.substr(begin, field_ends_[index] - begin);
}

result<bool> csv_reader::next() {
  const auto on_field = [](void* data, std::size_t size, void* self) {
    auto& reader = *static_cast<csv_reader*>(self);
    reader.text_.append(static_cast<const char*>(data), size);
    reader.field_ends_.push_back(reader.text_.size());
  };
  const auto on_record = [](int, void* self) { static_cast<csv_reader*>(self)->complete_ = true; };

  text_.clear();
  field_ends_.clear();
  complete_ = false;
  record_bytes_ = 0;
  record_line_ = line_;
  while (!complete_) {
    if (begin_ == end_) {
      const auto more = fill();
      if (!more)
        return more.error();
      if (!*more) {
        if (csv_fini(parser_.get(), on_field, on_record, this) != 0)
          return broken(record_line_,
                        "broken quotes: a quoted field of the record that starts here is never closed; close "
                        "it with \"");
        return complete_;
      }
    }
    const std::string_view piece{buffer_.data() + begin_, piece_size()};
    const auto parsed = csv_parse(parser_.get(), piece.data(), piece.size(), on_field, on_record, this);
    if (parsed != piece.size()) {
      if (csv_error(parser_.get()) != CSV_EPARSE)
        throw std::bad_alloc{};
      return broken(line_,
                    "broken quotes: a \" inside a field is written as \"\", and the whole field in quotes");
    }
    pass_over(piece);
    const bool blank = !complete_ && record_bytes_ == 0 && (piece == "\n" || piece == "\r");
    if (blank) {
      record_line_ = line_;
      continue;
    }
    record_bytes_ += piece.size();
    if (record_bytes_ > max_record_bytes)
      return broken(record_line_, "the record that starts here is longer than " +
                                      std::to_string(max_record_bytes) +
                                      " bytes; shorten it, or look for a missing \" or line break");
  }
  return true;
}

error csv_reader::broken(std::uint64_t line, const std::string& what) const {
  return bad_content(path_, "line " + std::to_string(line) + ": " + what);
}

/// Reads the next block of the file; false at its end.
result<bool> csv_reader::fill() {
  begin_ = 0;
  end_ = std::fread(buffer_.data(), 1, buffer_.size(), file_.get());
  if (end_ == 0 && std::ferror(file_.get()))
    return file_error(errno, path_, std::string{"reading failed ("} + std::strerror(errno) + ")");
  return end_ != 0;
}

/// The parser gets at most one line end at a time, so it finishes at most one record.
std::size_t csv_reader::piece_size() const noexcept {
  const auto* from = buffer_.data() + begin_;
  const auto* to = buffer_.data() + end_;
  const auto* stop = std::find_if(from, to, [](char c) { return c == '\n' || c == '\r'; });
  return static_cast<std::size_t>(stop - from) + (stop == to ? 0 : 1);
}

void csv_reader::pass_over(std::string_view parsed) noexcept {
  begin_ += parsed.size();
  if (parsed.back() == '\r' || (parsed.back() == '\n' && !(after_cr_ && parsed.size() == 1)))
    ++line_;
  after_cr_ = parsed.back() == '\r';
}

} // namespace permits
