import logo from './logo.svg'

/** Logo is the mark and the name; the name is text, so that it is read out and takes the theme. */
export function Logo() {
  return (
    <span className="logo">
      <img src={logo} alt="" width="24" height="24" />
      Weir
    </span>
  )
}
