/** Button */
export const Button: React.FC<Props> = ({ a }) => {
  return <div>{a}</div>;
};
export default function App() { return <Button a="1" />; }
