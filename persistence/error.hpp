#pragma once

#include <cassert>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <variant>

namespace eventcore {

/// An error as a value: a code that programs compare, and a message that people read.
///
/// The message names the thing that went wrong (file, stream, version, position, type) and says what to do. Codes are
/// the enums of the modules (`journal_errc`, `entity_errc`), so `e.code() == journal_errc::conflict` works as with any
/// `std::error_code`. Errors are small (two words and one allocation) and cheap to move.
class error {
public:
  error(std::error_code code, std::string message)
      : code_{code}
      , message_{std::move(message)} {}

  /// The machine-readable code, never zero.
  const std::error_code& code() const noexcept { return code_; }

  /// One sentence for people, without the code's own text.
  const std::string& message() const noexcept { return message_; }

  /// What a rejection said besides its message: a stable code of the user's own and free details. Empty for errors that
  /// are not rejections.
  const std::string& reason() const noexcept { return reason_; }
  const std::string& details() const noexcept { return details_; }

  error& with_reason(std::string reason, std::string details) {
    reason_ = std::move(reason);
    details_ = std::move(details);
    return *this;
  }

private:
  std::error_code code_;
  std::string message_;
  std::string reason_;
  std::string details_;
};

/// A value or an `error`. Access without a check is a programming error and asserts.
template <class T>
class [[nodiscard]] result {
public:
  using value_type = T;

  result(T value)
      : content_{std::in_place_index<0>, std::move(value)} {}
  result(class error e)
      : content_{std::in_place_index<1>, std::make_unique<class error>(std::move(e))} {}

  bool has_value() const noexcept { return content_.index() == 0; }
  explicit operator bool() const noexcept { return has_value(); }

  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(value()); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const class error& error() const {
    assert(!has_value());
    return *std::get<1>(content_);
  }

private:
  T& value() {
    assert(has_value());
    return *std::get_if<0>(&content_);
  }
  const T& value() const {
    assert(has_value());
    return *std::get_if<0>(&content_);
  }

  std::variant<T, std::unique_ptr<class error>> content_;
};

/// Success or an `error`.
template <>
class [[nodiscard]] result<void> {
public:
  using value_type = void;

  result() = default;
  result(class error e)
      : error_{std::make_unique<class error>(std::move(e))} {}

  bool has_value() const noexcept { return error_ == nullptr; }
  explicit operator bool() const noexcept { return has_value(); }

  const class error& error() const {
    assert(!has_value());
    return *error_;
  }

private:
  std::unique_ptr<class error> error_;
};

} // namespace eventcore
