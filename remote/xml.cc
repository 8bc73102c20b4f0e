#include "remote/xml.h"

#include <expat.h>

#include <memory>
#include <optional>
#include <vector>

namespace coffer {
namespace {

constexpr size_t kMostLevels = 64;
constexpr size_t kMostText = 64 * 1024;
constexpr size_t kSlice = 1 << 20;

class Parse {
 public:
  Parse(XmlHandler& handler, XML_Parser parser) : handler_(handler), parser_(parser) {}

  const std::optional<Error>& error() const { return error_; }

  static void on_start(void* self, const XML_Char* name, const XML_Char**) noexcept {
    static_cast<Parse*>(self)->start(name);
  }
  static void on_end(void* self, const XML_Char* name) noexcept { static_cast<Parse*>(self)->end(name); }
  static void on_text(void* self, const XML_Char* text, int size) noexcept {
    static_cast<Parse*>(self)->text({text, static_cast<size_t>(size)});
  }
  static void on_doctype(void* self, const XML_Char*, const XML_Char*, const XML_Char*, int) noexcept {
    static_cast<Parse*>(self)->stop(Error(Code::kCorrupt, "XML with a document type declaration is refused"));
  }

 private:
  void start(std::string_view name) {
    if (error_) return;
    if (texts_.size() >= kMostLevels) return stop(Error(Code::kCorrupt, "XML nested too deeply"));
    texts_.emplace_back();
    if (auto r = handler_.start(name); !r) stop(r.error());
  }
  void end(std::string_view name) {
    if (error_) return;
    std::string text = std::move(texts_.back());
    texts_.pop_back();
    if (auto r = handler_.end(name, text); !r) stop(r.error());
  }
  void text(std::string_view piece) {
    if (error_ || texts_.empty()) return;
    if (texts_.back().size() + piece.size() > kMostText) return stop(Error(Code::kCorrupt, "XML with too long a text"));
    texts_.back() += piece;
  }
  void stop(Error error) {
    error_ = std::move(error);
    XML_StopParser(parser_, XML_FALSE);
  }

  XmlHandler& handler_;
  const XML_Parser parser_;
  std::vector<std::string> texts_;  // of the open elements
  std::optional<Error> error_;
};

}  // namespace

Result<void> read_xml(BytesView document, XmlHandler& handler) {
  std::unique_ptr<XML_ParserStruct, void (*)(XML_Parser)> parser(XML_ParserCreateNS(nullptr, '|'), XML_ParserFree);
  if (!parser) return fail(Code::kNoSpace, "XML: out of memory");
  Parse parse(handler, parser.get());
  XML_SetUserData(parser.get(), &parse);
  XML_SetElementHandler(parser.get(), &Parse::on_start, &Parse::on_end);
  XML_SetCharacterDataHandler(parser.get(), &Parse::on_text);
  XML_SetStartDoctypeDeclHandler(parser.get(), &Parse::on_doctype);
  for (;;) {
    BytesView slice = document.first(std::min(kSlice, document.size()));
    document = document.subspan(slice.size());
    XML_Status status = XML_Parse(parser.get(), reinterpret_cast<const char*>(slice.data()),
                                  static_cast<int>(slice.size()), document.empty());
    if (parse.error()) return fail(*parse.error());
    if (status != XML_STATUS_OK)
      return fail(Code::kCorrupt, "broken XML at line " + std::to_string(XML_GetCurrentLineNumber(parser.get())) +
                                      ": " + XML_ErrorString(XML_GetErrorCode(parser.get())));
    if (document.empty()) return {};
  }
}

}  // namespace coffer
